"""Transforms template.yaml as AWS does at a deployment, and checks what only shows in the result."""

import json
import os
import sys

import rules
from resolve import Deployment
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

# What a function gets from SAM that template.yaml does not say. More would be rights or resources nobody decided on.
EXPECTED = {
    "AWS::Lambda::Function",
    "AWS::Lambda::Permission",
    "AWS::Lambda::EventSourceMapping",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Scheduler::Schedule",
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Stage",
}
# The roles that SAM makes by itself: the schedule's, which may call its function and fill its dead letters.
ROLES = {"TokenRefreshTickRole"}
# As long as names can be: what infra/cdk takes as a stack's name, and PublicUrl's MaxLength.
STACK = "s" * 41
PUBLIC_URL = "https://" + "u" * 192


class NoManagedPolicies:
    """No function may need AWS's managed policies: each has a role of its own."""

    def load(self):
        return {}


def pseudo(region):
    """Parameters of a deployment to this region, with names of the greatest length."""
    china = region.startswith("cn-")
    return {
        "AWS::Partition": "aws-cn" if china else "aws",
        "AWS::Region": "cn-northwest-1" if china else "ap-southeast-1",
        "AWS::URLSuffix": "amazonaws.com.cn" if china else "amazonaws.com",
        "AWS::AccountId": "000000000000",
        "AWS::StackName": STACK,
        "PublicUrl": PUBLIC_URL,
        "SecretsId": "oahub",
    }


def check(source, region):
    """What is wrong with a template, and what was looked at."""
    template = yaml_parse(source)
    functions = [r for r in template["Resources"].values() if r["Type"] == "AWS::Serverless::Function"]
    for function in functions:
        function["Properties"]["CodeUri"] = "s3://bucket/key"
    said = set(template["Resources"])
    result = transform(template, {}, NoManagedPolicies())
    made = {name: r for name, r in result["Resources"].items() if name not in said}
    wrong = [f"SAM makes {name}, a {r['Type']}" for name, r in made.items() if r["Type"] not in EXPECTED and name not in ROLES]
    text = json.dumps(result)
    wrong += ["a partition is spelled: arn:aws"] if "arn:aws" in text else []
    # CloudFormation's own limits
    wrong += [f"{len(text)} bytes, more than CloudFormation takes"] if len(text) > 1_000_000 else []
    wrong += ["more than 500 resources"] if len(result["Resources"]) > 500 else []
    wrong += ["more than 200 outputs or parameters"] if max(len(result["Outputs"]), len(result["Parameters"])) > 200 else []
    for concurrency in result["Parameters"]["Concurrency"]["AllowedValues"]:
        for egress in result["Parameters"]["Egress"]["AllowedValues"]:
            options = {"DomainName": "hub.example.com", "DataKey": "on"} if egress == "vpc" else {}
            chosen = {"Concurrency": concurrency, "Egress": egress, **options}
            here = Deployment(result, {**pseudo(region), **chosen})
            wrong += [line for rule in rules.ALL for line in rule(here) if line not in wrong]
    return wrong, f"{len(functions)} functions, {len(result['Resources'])} resources"


def main(path):
    with open(path, encoding="utf-8") as file:
        wrong, seen = check(file.read(), os.environ["AWS_DEFAULT_REGION"])
    for line in wrong:
        print(f"{path}: {line}", file=sys.stderr)
    print(f"{path}: {seen}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
