/**
 * CloudFront with a web ACL before the HTTP API: a web ACL cannot be put on an HTTP API itself.
 *
 * What it means: path, query, body and headers reach the functions unchanged but for `Host`, which must be the API's
 * own; WeChat signs none of them but `timestamp`, `nonce` and the body's `Encrypt`, so signatures hold. Nothing is
 * cached. The caller's address is the first of `X-Forwarded-For`; no function reads it. The API's own address stays
 * open to who knows it: the limit protects what is published, it locks nothing.
 *
 * The rate rules count by address. WeChat pushes from few addresses, and a limit that stops a scanner would stop a
 * campaign's pushes, so `/wechat/` has a limit of its own, which only floods reach. What is refused there before costs
 * one signature.
 */
import { Aws, CfnOutput, Duration, Fn, Stack, StackProps } from 'aws-cdk-lib';
import { Certificate } from 'aws-cdk-lib/aws-certificatemanager';
import {
  AllowedMethods, CachePolicy, Distribution, HttpVersion, OriginProtocolPolicy, OriginRequestPolicy, SecurityPolicyProtocol, ViewerProtocolPolicy,
} from 'aws-cdk-lib/aws-cloudfront';
import { HttpOrigin } from 'aws-cdk-lib/aws-cloudfront-origins';
import { CfnWebACL } from 'aws-cdk-lib/aws-wafv2';
import { Construct } from 'constructs';
import { Domain, Front } from './config';
import { Parts } from './template';

/**
 * Pushes from one address in five minutes: 2,000 a second, more than one of WeChat's servers has been seen to send
 * anybody, and a quarter of what the route itself takes.
 */
const PUSHES_PER_5_MINUTES = 600_000;

/** The web ACL; only us-east-1 may hold one for CloudFront. */
export function webAcl(scope: Construct, { requestsPer5Minutes }: Front): CfnWebACL {
  const visible = (metricName: string) => ({ cloudWatchMetricsEnabled: true, sampledRequestsEnabled: true, metricName });
  const pushes: CfnWebACL.StatementProperty = {
    byteMatchStatement: {
      fieldToMatch: { uriPath: {} },
      positionalConstraint: 'STARTS_WITH',
      searchString: '/wechat/',
      textTransformations: [{ priority: 0, type: 'NONE' }],
    },
  };
  const rate = (name: string, limit: number, scopeDownStatement: CfnWebACL.StatementProperty): CfnWebACL.RuleProperty => ({
    name,
    priority: name === 'rate' ? 0 : 1,
    action: { block: { customResponse: { responseCode: 429 } } },
    visibilityConfig: visible(name),
    statement: { rateBasedStatement: { aggregateKeyType: 'IP', limit, evaluationWindowSec: 300, scopeDownStatement } },
  });
  return new CfnWebACL(scope, 'WebAcl', {
    scope: 'CLOUDFRONT',
    defaultAction: { allow: {} },
    visibilityConfig: visible('all'),
    rules: [rate('rate', requestsPer5Minutes, { notStatement: { statement: pushes } }), rate('pushes', PUSHES_PER_5_MINUTES, pushes)],
  });
}

/** Only the web ACL, for a deployment in another region. */
export class EdgeStack extends Stack {
  constructor(scope: Construct, id: string, front: Front, props: StackProps) {
    super(scope, id, props);
    const acl = webAcl(this, front);
    new CfnOutput(this, 'WebAclArn', { description: 'Option frontWebAclArn of the deployment', value: acl.attrArn });
  }
}

export function front(scope: Construct, domain: Domain, chosen: Front, { api }: Parts): void {
  const aclArn = chosen.webAclArn ?? webAcl(scope, chosen).attrArn;
  const distribution = new Distribution(scope, 'Front', {
    comment: Aws.STACK_NAME,
    webAclId: aclArn,
    httpVersion: HttpVersion.HTTP2_AND_3,
    minimumProtocolVersion: SecurityPolicyProtocol.TLS_V1_2_2021,
    domainNames: [domain.name],
    certificate: Certificate.fromCertificateArn(scope, 'Certificate', domain.certificateArn),
    defaultBehavior: {
      origin: new HttpOrigin(Fn.join('', [api.ref, '.execute-api.', Aws.REGION, '.', Aws.URL_SUFFIX]), {
        protocolPolicy: OriginProtocolPolicy.HTTPS_ONLY,
        readTimeout: Duration.seconds(30), // an HTTP API's own limit
      }),
      allowedMethods: AllowedMethods.ALLOW_ALL,
      cachePolicy: CachePolicy.CACHING_DISABLED,
      originRequestPolicy: OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER,
      viewerProtocolPolicy: ViewerProtocolPolicy.HTTPS_ONLY,
      compress: false,
    },
  });
  new CfnOutput(scope, 'FrontTarget', {
    description: `A CNAME (or alias) record of ${domain.name} points here`,
    value: distribution.distributionDomainName,
  });
}
