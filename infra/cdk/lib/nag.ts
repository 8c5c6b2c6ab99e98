/**
 * Where we differ from the AwsSolutions rules, each with its reason. A test fails where one of these is not needed any
 * more. The rules see SAM's own resources only in part: functions and the HTTP API are looked at by the tests of
 * template.yaml.
 */
import { CfnResource, Stack, Validations } from 'aws-cdk-lib';

export interface Exception {
  /** As the report names it. */
  readonly rule: string;
  /** Paths of the resources below the stack. */
  readonly of: RegExp;
  readonly reason: string;
}

export const EXCEPTIONS: readonly Exception[] = [
  {
    rule: 'AwsSolutions::AwsSolutions-SQS3',
    of: /^Template\/\w+DeadLetters$/,
    reason: 'It is a dead-letter queue; the rule does not see that through the included template.',
  },
  {
    rule: 'AwsSolutions::AwsSolutions-IAM5[Resource::*]',
    of: /^Template\/(TracingPolicy|EgressPolicy)$/,
    reason: "X-Ray's actions and those on a function's network interfaces take no resource.",
  },
  ...['kms:ReEncrypt*', 'kms:GenerateDataKey*'].map((action) => ({
    rule: `AwsSolutions::AwsSolutions-IAM5[Action::${action}]`,
    of: /^Template\/(AuthorizationCallback|TokenRefresh|FollowerImport|MessageSend)Role$/,
    reason: 'DynamoDB opens a table with a key of ours by these, in the name of who asks; a condition lets nobody but DynamoDB.',
  })),
  {
    rule: 'AwsSolutions::AwsSolutions-VPC7',
    of: /^Template\/EgressVpc$/,
    reason: 'Nothing but calls to WeChat leaves it, each of which the functions log.',
  },
  {
    rule: 'AwsSolutions::AwsSolutions-EC23',
    of: /^Template\/NatSecurityGroup$/,
    reason: 'The rule cannot read a reference; what comes in is limited to the VPC by the template.',
  },
  {
    rule: 'AwsSolutions::AwsSolutions-EC28',
    of: /^Template\/NatServer$/,
    reason: 'Its status checks are free and have an alarm; detailed monitoring costs as much as the instance.',
  },
  {
    rule: 'AwsSolutions::AwsSolutions-EC29',
    of: /^Template\/NatServer$/,
    reason: 'It holds nothing: terminated, CloudFormation makes another behind the same address.',
  },
  {
    rule: 'AwsSolutions::AwsSolutions-CFR1',
    of: /^Front\/Resource$/,
    reason: 'WeChat and browsers come from where they come from; what comes is signed or carries a key.',
  },
  {
    rule: 'AwsSolutions::AwsSolutions-CFR3',
    of: /^Front\/Resource$/,
    reason: 'The HTTP API and the functions log each request; a second log costs a bucket and tells nothing more.',
  },
  {
    rule: 'CloudFormation-Validate::W2509',
    of: /^$/,
    reason: 'SecretsId is the name of a secret, not the secret.',
  },
  {
    rule: 'CloudFormation-Validate::W2506',
    of: /^$/,
    reason: 'NatImage is the name of an SSM parameter that holds the image, not the image.',
  },
  {
    rule: 'CloudFormation-Validate::W1030',
    of: /^Template\/NatServer$/,
    reason: 'The image is what the SSM parameter NatImage holds when the stack is deployed.',
  },
  {
    rule: 'CloudFormation-Validate::W1001',
    of: /^$/,
    reason: 'EgressAddresses names AddressB only where SecondZone makes it; the rule does not look at the If around it.',
  },
];

/** Notes the exceptions on the resources that they are for. */
export function acknowledge(stack: Stack): void {
  for (const construct of stack.node.findAll()) {
    if (construct !== stack && !CfnResource.isCfnResource(construct)) continue;
    const path = construct.node.path.slice(stack.node.path.length + 1);
    for (const { rule, of, reason } of EXCEPTIONS) {
      if (of.test(path)) Validations.of(construct).acknowledge({ id: rule, reason });
    }
  }
}
