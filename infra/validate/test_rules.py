"""Each rule finds what it is for: template.yaml with one thing changed, and what has to be said of it."""

import logging
import os
import sys
import unittest

from transform import check

TEMPLATE = os.path.join(os.path.dirname(__file__), "../../template.yaml")
ROWS = [
    # what, in China, text, its replacement, what is said
    ("a setting of 3,000 letters", False, "RUST_LOG: !Ref LogLevel", "RUST_LOG: " + "x" * 3_000, "may get"),
    ("a function's name that is long", False, "${AWS::StackName}-tenant-api\"", "${AWS::StackName}-" + "a" * 30 + "\"", "FunctionName has 72 letters"),
    ("a route without limits", False, "        GET /docs: {", "        GET /elsewhere: {", "GET /docs has no RouteSettings"),
    ("limits of no route", False, "        GET /docs: {", "        GET /elsewhere: {", "GET /elsewhere, which is no route"),
    ("limits above the account's", False, "GET /docs: { ThrottlingRateLimit: 20", "GET /docs: { ThrottlingRateLimit: 9000", "more than an account's"),
    ("API Gateway's own route", False, "Path: /docs", "Path: /ping", "GET /ping is API Gateway's own"),
    ("less reserved than a mapping takes", False, "!Ref AWS::NoValue, 140]", "!Ref AWS::NoValue, 4]", "AuthorizationCallback has 4 reserved"),
    ("a reservation in a small account", False, "!If [SmallAccount, !Ref AWS::NoValue, 150]", "150", "TenantApi is reserved"),
    ("a public function without a bound", False, "      ReservedConcurrentExecutions: !If [SmallAccount, !Ref AWS::NoValue, 150]\n", "", "TenantApi answers strangers"),
    ("more reserved than there is", False, "!Ref AWS::NoValue, 300]", "!Ref AWS::NoValue, 700]", "more is reserved"),
    ("a mapping without a bound", False, "            ScalingConfig: { MaximumConcurrency: !If [SmallAccount, 2, 20] }\n", "", "SendQueue may take"),
    ("a loop that is not meant", False, "      RecursiveLoop: !If [InChina, !Ref AWS::NoValue, Allow] # a page", "      # a page", "FollowerImport queues jobs that lead back"),
    ("a loop that is not there", False, "      FunctionName: !Sub \"${AWS::StackName}-tenant-api\"", "      RecursiveLoop: Allow\n      FunctionName: !Sub \"${AWS::StackName}-tenant-api\"", "TenantApi says RecursiveLoop"),
    ("loops in China", True, "!If [InChina, !Ref AWS::NoValue, Allow]", "Allow", "China knows no RecursiveLoop"),
    ("X-Ray in China", True, "Tracing: !If [InChina, PassThrough, Active]", "Tracing: Active", "no X-Ray in China"),
    ("a queue in the open", False, "Queues: [!Ref SendQueue]", "Queues: [!Ref ImportQueue]", "SendQueue takes requests in the open"),
    ("few receives", False, "maxReceiveCount: 5 }", "maxReceiveCount: 4 }", "RefreshQueue gives a message up after 4"),
    ("dead letters that die first", False, "MessageRetentionPeriod: 864000", "MessageRetentionPeriod: 1209600", "ImportDeadLetters keeps"),
    ("a table under AWS's key", False, "SSESpecification: !If [OwnDataKey, {", "Tags: !If [OwnDataKey, {", "keeps AWS's own key with DataKey"),
    ("a function without the key", False, "!If [OwnDataKey, !Ref DataKeyPolicy, !Ref AWS::NoValue], !If [Traced", "!If [Traced", "may not use the tables"),
    ("an access log elsewhere", False, "/aws/vendedlogs/apis/", "/aws/apigateway/", "takes a piece"),
]


class Rules(unittest.TestCase):
    def test_each_finds_what_it_is_for(self):
        with open(TEMPLATE, encoding="utf-8") as file:
            source = file.read()
        for what, china, text, other, said in ROWS:
            with self.subTest(what):
                self.assertIn(text, source)
                wrong, _ = check(source.replace(text, other), "cn-north-1" if china else "us-east-1")
                self.assertTrue(any(said in line for line in wrong), wrong)


if __name__ == "__main__":
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    logging.getLogger("samtranslator.metrics").setLevel(logging.ERROR)
    sys.exit(unittest.main())
