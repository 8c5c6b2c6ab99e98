/**
 * Values for the template's parameters. A parameter that has its value here is no parameter of the stack any more, so
 * CloudFormation does not check it: that is done here.
 */
import { App, CfnParameter, Stack } from 'aws-cdk-lib';
import { CfnInclude } from 'aws-cdk-lib/cloudformation-include';
import { ConfigError } from './config';

export function values(given: Readonly<Record<string, string>>, templateFile: string): Record<string, string | string[]> {
  if (Object.keys(given).length === 0) return {};
  // an app of its own that is never synthesised: the CLI takes whatever is
  const template = new CfnInclude(new Stack(new App({ autoSynth: false }), 'Read'), 'Template', { templateFile });
  const known = new Map(template.node.findAll().filter((c): c is CfnParameter => c instanceof CfnParameter).map((p) => [p.node.id, p]));
  return Object.fromEntries(Object.entries(given).map(([name, value]) => {
    const parameter = known.get(name);
    if (!parameter) throw new ConfigError('parameters', `the template has no ${name}`, `an object of some of ${[...known.keys()].join(', ')}`);
    const { type, allowedValues, allowedPattern, constraintDescription } = parameter;
    if (allowedValues && !allowedValues.includes(value)) {
      throw new ConfigError('parameters', `${name} is ${value}`, `one of ${allowedValues.join(', ')}`);
    }
    if (allowedPattern && !new RegExp(`^(?:${allowedPattern})$`).test(value)) {
      throw new ConfigError('parameters', `${name} is ${value}`, constraintDescription ?? `of the form ${allowedPattern}`);
    }
    return [name, /List/.test(type) ? value.split(',').map((part) => part.trim()) : value];
  }));
}
