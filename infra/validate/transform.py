"""Transforms template.yaml as AWS does at a deployment, and checks what only shows in the result."""

import json
import sys

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


class NoManagedPolicies:
    """No function may need AWS's managed policies: each has a role of its own."""

    def load(self):
        return {}


def main(path):
    with open(path, encoding="utf-8") as file:
        template = yaml_parse(file.read())
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
    for line in wrong:
        print(f"{path}: {line}", file=sys.stderr)
    print(f"{path}: {len(functions)} functions, {len(result['Resources'])} resources")
    return 1 if wrong else 0


sys.exit(main(sys.argv[1]))
