/** A domain of one's own on the HTTP API. DNS stays the operator's: the output says where the name has to point. */
import { CfnOutput } from 'aws-cdk-lib';
import { CfnApiMapping, CfnDomainName } from 'aws-cdk-lib/aws-apigatewayv2';
import { Construct } from 'constructs';
import { Domain } from './config';
import { Parts } from './template';

export function domain(scope: Construct, { name, certificateArn }: Domain, { api }: Parts): void {
  const domainName = new CfnDomainName(scope, 'Domain', {
    domainName: name,
    domainNameConfigurations: [{ certificateArn, endpointType: 'REGIONAL', securityPolicy: 'TLS_1_2' }],
  });
  const mapping = new CfnApiMapping(scope, 'DomainMapping', { apiId: api.ref, domainName: domainName.ref, stage: '$default' });
  mapping.addResourceDependency(api); // the stage is made with the API
  new CfnOutput(scope, 'DomainTarget', {
    description: `A CNAME (or alias) record of ${name} points here`,
    value: domainName.attrRegionalDomainName,
  });
}
