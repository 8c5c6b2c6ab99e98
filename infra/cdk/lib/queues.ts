/** Queues take requests over TLS only: a policy for each that the template gives none. */
import { Stack } from 'aws-cdk-lib';
import { CfnQueuePolicy } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import { Parts } from './template';

export function tlsOnly(scope: Construct, parts: Parts): void {
  const stack = Stack.of(scope);
  const has = new Set(
    scope.node.findAll().filter((c): c is CfnQueuePolicy => c instanceof CfnQueuePolicy)
      .flatMap((policy) => policy.queues).map((queue) => JSON.stringify(stack.resolve(queue))),
  );
  for (const { id, resource } of [...parts.queues, ...parts.deadLetters]) {
    if (has.has(JSON.stringify(stack.resolve(resource.ref)))) continue;
    new CfnQueuePolicy(scope, `${id}Tls`, {
      queues: [resource.ref],
      policyDocument: {
        Version: '2012-10-17',
        Statement: [{
          Effect: 'Deny',
          Principal: '*',
          Action: 'sqs:*',
          Resource: resource.attrArn,
          Condition: { Bool: { 'aws:SecureTransport': 'false' } },
        }],
      },
    });
  }
}
