/**
 * What an operator chooses. Comes from the context (`-c name=value`, or the file that `-c config=FILE` names) and is
 * checked before anything is built: an error names the option, what is wrong and what a right value looks like.
 */
import { readFileSync } from 'node:fs';

/** A domain of one's own on the HTTP API, or on CloudFront where `front` is on. */
export interface Domain {
  /** `hub.example.com` */
  readonly name: string;
  /** Of a certificate in the API's region; with `front`, in us-east-1. */
  readonly certificateArn: string;
}

/** CloudFront and a web ACL before the HTTP API, which cannot have a web ACL itself. */
export interface Front {
  /** Requests from one address in five minutes, WeChat's pushes not counted. */
  readonly requestsPer5Minutes: number;
  /** The web ACL of the edge stack; needed outside us-east-1, where a web ACL for CloudFront must live. */
  readonly webAclArn?: string;
}

export interface Budget {
  /** A month's limit, in the currency of the account: USD, or CNY in China. */
  readonly limit: number;
}

export interface Config {
  /** Name of the stack; functions, alarms and the dashboard carry it. */
  // Lambda takes 64 letters of a function's name, and the longest adds 23
  readonly stackName: string;
  /** The account and region; without them the stack fits any, as CloudFormation's own variables. */
  readonly account?: string;
  readonly region?: string;
  /** Folder with one folder for each function's `bootstrap`; `none` synthesises without code. */
  readonly code: string;
  /** Values of the template's parameters. What is not given is asked at deployment. */
  readonly parameters: Readonly<Record<string, string>>;
  /** Who is told of alarms and of the budget. */
  readonly email?: string;
  readonly alarms: boolean;
  /** Nothing else runs on Lambda in this account and region: one alarm on errors and one on throttles do for all functions. */
  readonly ownAccount: boolean;
  readonly dashboard: boolean;
  readonly domain?: Domain;
  readonly front?: Front;
  readonly budget?: Budget;
}

/** An option that is missing or malformed. */
export class ConfigError extends Error {
  constructor(option: string, problem: string, right: string) {
    super(`option ${option}: ${problem}. It must be ${right}.`);
    this.name = 'ConfigError';
  }
}

/** Where options come from: `-c name=value` gives text, a file gives any JSON. */
export type Source = (name: string) => unknown;

const OPTIONS = [
  'stackName', 'account', 'region', 'code', 'parameters', 'email', 'alarms', 'ownAccount', 'dashboard',
  'domainName', 'domainCertificateArn', 'front', 'frontRequestsPer5Minutes', 'frontWebAclArn', 'budget',
] as const;
type Option = (typeof OPTIONS)[number];

/** The file that `-c config=FILE` names, under the options of the command line. */
export function source(context: Source): Source {
  const file = context('config');
  if (file === undefined) return context;
  if (typeof file !== 'string') throw new ConfigError('config', 'it is no text', 'the path of a JSON file');
  let options: unknown;
  try {
    options = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new ConfigError('config', `${file} could not be read (${String(error)})`, 'the path of a JSON file');
  }
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new ConfigError('config', `${file} holds no object`, 'a JSON object of options');
  }
  const given = options as Record<string, unknown>;
  for (const name of Object.keys(given)) {
    if (!(OPTIONS as readonly string[]).includes(name)) {
      throw new ConfigError(name, `no such option (in ${file})`, `one of ${OPTIONS.join(', ')}`);
    }
  }
  return (name) => context(name) ?? given[name];
}

/** Reads and checks all options. */
export function load(from: Source): Config {
  const get = (name: Option): unknown => {
    const value = from(name);
    return value === '' ? undefined : value;
  };
  const text = (name: Option, right: string, shape: RegExp): string | undefined => {
    const value = get(name);
    if (value === undefined) return undefined;
    if (typeof value === 'string' && shape.test(value)) return value;
    throw new ConfigError(name, `${JSON.stringify(value)} is malformed`, right);
  };
  const flag = (name: Option, otherwise: boolean): boolean => {
    const value = get(name) ?? otherwise;
    if (value === true || value === 'true') return true;
    if (value === false || value === 'false') return false;
    throw new ConfigError(name, `${JSON.stringify(value)} is no truth value`, '`true` or `false`');
  };
  const number = (name: Option, least: number, most: number): number | undefined => {
    const value = get(name);
    if (value === undefined) return undefined;
    const found = typeof value === 'number' || typeof value === 'string' ? Number(value) : NaN;
    if (found >= least && found <= most) return found;
    throw new ConfigError(name, `${JSON.stringify(value)} is out of range`, `a number from ${least} to ${most}`);
  };
  const arn = (name: Option, service: string) =>
    text(name, `the ARN of a ${service} resource`, new RegExp(`^arn:aws(-cn)?:${service}:[a-z0-9-]+:\\d{12}:.+$`));

  const region = text('region', 'a region, like eu-central-1', /^[a-z]{2}(-[a-z]+)+-\d$/);
  const config: Config = {
    stackName: text('stackName', 'at most 41 letters, digits and hyphens, beginning with a letter', /^[A-Za-z][A-Za-z0-9-]{0,40}$/) ?? 'oahub',
    account: text('account', 'the 12 digits of an account', /^\d{12}$/),
    region,
    code: text('code', 'a folder, or `none`', /./) ?? '../../target/lambda',
    parameters: parameters(get('parameters')),
    email: text('email', 'an e-mail address', /^[^@\s]+@[^@\s]+\.[^@\s]+$/),
    alarms: flag('alarms', true),
    ownAccount: flag('ownAccount', true),
    dashboard: flag('dashboard', true),
    domain: domain(
      text('domainName', 'a host name, like hub.example.com', /^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$/),
      arn('domainCertificateArn', 'acm'),
    ),
    front: flag('front', false)
      ? { requestsPer5Minutes: number('frontRequestsPer5Minutes', 10, 2_000_000_000) ?? 2_000, webAclArn: arn('frontWebAclArn', 'wafv2') }
      : undefined,
    budget: budget(number('budget', 1, 1_000_000)),
  };
  check(config);
  return config;
}

function parameters(given: unknown): Record<string, string> {
  if (given === undefined) return {};
  const right = 'a JSON object, like {"PublicUrl":"https://hub.example.com"}';
  let value = given;
  if (typeof value === 'string') {
    try {
      value = JSON.parse(value);
    } catch {
      throw new ConfigError('parameters', 'it is no JSON', right);
    }
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ConfigError('parameters', 'it is no object', right);
  }
  return Object.fromEntries(Object.entries(value).map(([name, v]) => {
    if (typeof v === 'object' || v === undefined) throw new ConfigError('parameters', `${name} is no text or number`, right);
    return [name, String(v)];
  }));
}

function domain(name: string | undefined, certificateArn: string | undefined): Domain | undefined {
  if (name === undefined && certificateArn === undefined) return undefined;
  if (name === undefined) throw new ConfigError('domainName', 'it is missing, but domainCertificateArn is given', 'a host name');
  if (certificateArn === undefined) {
    throw new ConfigError('domainCertificateArn', 'it is missing, but domainName is given', 'the ARN of an ACM certificate for that name');
  }
  return { name, certificateArn };
}

function budget(limit: number | undefined): Budget | undefined {
  return limit === undefined ? undefined : { limit };
}

/** What two options say together. */
function check(config: Config): void {
  const { domain, front, region, email, parameters } = config;
  if (config.budget && !email) throw new ConfigError('email', 'it is missing, but a budget is given', 'the e-mail address that hears of it');
  const publicUrl = parameters['PublicUrl'];
  if (domain && publicUrl !== undefined && publicUrl.replace(/\/$/, '') !== `https://${domain.name}`) {
    throw new ConfigError('domainName', `parameter PublicUrl is ${publicUrl}, another address`, `the host of PublicUrl, or PublicUrl https://${domain.name}`);
  }
  const at = (certificate: string) => certificate.split(':')[3];
  if (!front && domain && region && at(domain.certificateArn) !== region) {
    throw new ConfigError('domainCertificateArn', `it is of ${at(domain.certificateArn)}`, `of ${region}, where the API is`);
  }
  if (!front) return;
  if (!region) throw new ConfigError('region', 'it is missing, but front is on', 'the region of the deployment: it decides where the web ACL lives');
  if (region.startsWith('cn-')) {
    throw new ConfigError('front', 'a web ACL for CloudFront must live in us-east-1, which no account of China has', '`false` in China');
  }
  if (!domain) {
    throw new ConfigError('domainName', 'it is missing, but front is on', "the host of PublicUrl: CloudFront's own name is known only afterwards, and takes old TLS");
  }
  if (at(domain.certificateArn) !== 'us-east-1') {
    throw new ConfigError('domainCertificateArn', `it is of ${at(domain.certificateArn)}`, 'of us-east-1, where CloudFront looks for certificates');
  }
  if (region === 'us-east-1' && front.webAclArn) {
    throw new ConfigError('frontWebAclArn', 'it is given', 'left out in us-east-1: the stack makes its own');
  }
  if (region !== 'us-east-1' && front.webAclArn && at(front.webAclArn) !== 'us-east-1') {
    throw new ConfigError('frontWebAclArn', `it is of ${at(front.webAclArn)}`, 'of us-east-1: deploy the edge stack and take its output');
  }
}
