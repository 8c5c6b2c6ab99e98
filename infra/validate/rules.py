"""What AWS refuses, or does otherwise than meant, and only shows in what SAM makes. Each rule answers what is wrong."""

import json

# CloudFormation names what has no name after the stack, the resource and 12 or 13 letters of its own.
OWN_LETTERS = 14
# The longest that the hub takes, or that is known of WeChat.
LONGEST = {
    "OAHUB_COMPONENT_APP_ID": 32,
    "OAHUB_COMPONENT_APP_SECRET": 64,
    "OAHUB_COMPONENT_TOKEN": 32,
    "OAHUB_COMPONENT_TOKEN_PREVIOUS": 32,
    "OAHUB_COMPONENT_AES_KEY": 43,
    "OAHUB_COMPONENT_AES_KEY_PREVIOUS": 43,
    "OAHUB_ADMIN_KEY": 128,
    "OAHUB_ADMIN_KEY_PREVIOUS": 128,
}
# Of names that the template makes from the stack's.
NAME_LIMITS = {"FunctionName": 64, "Name": 64, "AliasName": 256, "LogGroupName": 512}
# What Lambda does not know in China (AWS China, feature differences), by the property that asks for it.
NOT_IN_CHINA = {"RecursiveLoop", "ProvisionedPollerConfig", "MetricsConfig"}


def references(value):
    """Logical ids below a value: of !Ref, !GetAtt and ${…}."""
    text = json.dumps(value)
    return {part.split(".")[0] for start in ('"Ref": "', '"Fn::GetAtt": ["', "${") for part in (p.split('"')[0].split("}")[0] for p in text.split(start)[1:])}


def environments(here):
    """Lambda takes 4 KB of names and values (Lambda quotas)."""
    stack, region = here.parameters["AWS::StackName"], here.parameters["AWS::Region"]
    queue_url = len(f"https://sqs.{region}.{here.parameters['AWS::URLSuffix']}/000000000000/")
    for function, properties in here.of("AWS::Lambda::Function").items():
        size = 0
        for name, value in properties["Environment"]["Variables"].items():
            if isinstance(value, dict):  # of another resource
                (target,) = references(value)
                own = min(len(stack) + len(target) + OWN_LETTERS + 5, 80 if target.endswith("Queue") else 255)
                length = own + (queue_url if here.resources[target]["Type"] == "AWS::SQS::Queue" else 0)
            elif "{{resolve:" in str(value):
                length = LONGEST[name]
            else:
                length = len(str(value))
            size += len(name) + length
        if size > 4096:
            yield f"{function} may get {size} bytes of variables, more than Lambda takes"


def names(here):
    for resource, made in here.resources.items():
        for member, limit in NAME_LIMITS.items():
            name = made["Properties"].get(member)
            if isinstance(name, str) and len(name) > limit:
                yield f"{resource}: {member} has {len(name)} letters where the stack's name has {len(here.parameters['AWS::StackName'])}"


def routes_of(here):
    (api,) = here.of("AWS::ApiGatewayV2::Api").values()
    for path, methods in api["Body"]["paths"].items():
        for method in methods:
            yield ("ANY" if "any-method" in method else method.upper()) + " " + path


def routes(here):
    """A route without limits of its own takes part in one flood with all like it; limits of no route stop the deployment."""
    (stage,) = here.of("AWS::ApiGatewayV2::Stage").values()
    made, limited = set(routes_of(here)), stage.get("RouteSettings", {})
    yield from (f"{route} has no RouteSettings of its own" for route in sorted(made - set(limited)))
    yield from (f"RouteSettings of {route}, which is no route" for route in sorted(set(limited) - made))
    rate = sum(limits["ThrottlingRateLimit"] for limits in limited.values())
    if rate > 10_000:
        yield f"all routes together take {rate} requests a second, more than an account's 10,000"
    for route in made:
        if route.split(" ")[1] in ("/ping", "/sping"):
            yield f"{route} is API Gateway's own"
    if len(made) > 300:
        yield f"{len(made)} routes, more than an HTTP API has"
    if len(stage["AccessLogSettings"]["Format"]) > 3072:
        yield "an access log format of more than 3 KB"
    permissions = [p["FunctionName"]["Ref"] for p in here.of("AWS::Lambda::Permission").values()]
    for function in set(permissions):
        if permissions.count(function) > 40:
            yield f"{function} has {permissions.count(function)} permissions; 20 KB of policy hold about 55"


def mapped(here):
    """(function, queue, mapping) of every mapping of a queue."""
    for mapping in here.of("AWS::Lambda::EventSourceMapping").values():
        (queue,) = references(mapping["EventSourceArn"])
        yield mapping["FunctionName"]["Ref"], queue, mapping


def concurrency(here):
    """A function with less room than its mappings' maximum throttles them: each time is a receive, and the last one ends
    among the dead letters (Lambda, scaling of SQS event sources)."""
    functions = here.of("AWS::Lambda::Function")
    wanted = {}
    for function, queue, mapping in mapped(here):
        most = mapping.get("ScalingConfig", {}).get("MaximumConcurrency")
        if most is None:
            yield f"{queue} may take the whole account's concurrency"
            continue
        wanted[function] = wanted.get(function, 0) + most
        if mapping.get("MaximumBatchingWindowInSeconds"):
            yield f"{queue} waits for batches, and somebody waits for it"
    reserved = {name: p["ReservedConcurrentExecutions"] for name, p in functions.items() if "ReservedConcurrentExecutions" in p}
    for function, most in wanted.items():
        if function in reserved and reserved[function] < most:
            yield f"{function} has {reserved[function]} reserved, less than its mappings' {most}"
    if here.parameters["Concurrency"] == "small":
        yield from (f"{function} is reserved something, of which a small account has nothing" for function in reserved)
    else:
        public = {p["FunctionName"]["Ref"] for p in here.of("AWS::Lambda::Permission").values() if p["Principal"].startswith("apigateway")}
        yield from (f"{function} answers strangers and has no bound of its own" for function in sorted(public - set(reserved)))
        if sum(reserved.values()) + 100 + sum(wanted[f] for f in wanted if f not in reserved) > 1000:
            yield "more is reserved than an account of 1,000 has beside 100 for all and the mappings"


def sends(here, function):
    """Queues that a function may send to."""
    role = here.resources[here.resources[function]["Properties"]["Role"]["Fn::GetAtt"][0]]["Properties"]
    for policy in role.get("Policies", []):
        for statement in policy["PolicyDocument"]["Statement"]:
            if "sqs:SendMessage" in statement["Action"]:
                yield from references(statement["Resource"])


def chains(here):
    """Lambda ends a chain of about 16 invocations through queues unless the function says that it is meant to loop."""
    takes = {queue: function for function, queue, _ in mapped(here)}
    functions = here.of("AWS::Lambda::Function")
    calls = {f: {takes[q] for q in sends(here, f) if q in takes} for f in functions}
    for function, properties in functions.items():
        reached, new = set(), calls[function]
        while new:
            reached, new = reached | new, {g for f in new for g in calls[f]} - reached
        allows = properties.get("RecursiveLoop") == "Allow"
        if function in reached and not allows and here.parameters["AWS::Partition"] != "aws-cn":
            yield f"{function} queues jobs that lead back to it, and does not say RecursiveLoop: Allow"
        if function not in reached and allows:
            yield f"{function} says RecursiveLoop: Allow and has no loop"


def queues(here):
    all_queues = here.of("AWS::SQS::Queue")
    policies = [json.dumps(p) for p in here.of("AWS::SQS::QueuePolicy").values()]
    for name, queue in all_queues.items():
        secure = [p for p in policies if f'"Queues": [{{"Ref": "{name}"}}]' in p and f'["{name}", "Arn"]' in p]
        if not any('"Effect": "Deny"' in p and "aws:SecureTransport" in p for p in secure):
            yield f"{name} takes requests in the open: it has no policy that denies them"
    for _, name, _ in mapped(here):
        redrive = all_queues[name]["RedrivePolicy"]
        if redrive["maxReceiveCount"] < 5:
            yield f"{name} gives a message up after {redrive['maxReceiveCount']} receives, of which throttles are some"
        (dead,) = references(redrive["deadLetterTargetArn"])
        kept, after = (all_queues[q].get("MessageRetentionPeriod", 345_600) for q in (name, dead))
        # of a standard queue a message's age counts on among the dead letters
        if after <= kept:
            yield f"{dead} keeps a message for {after} s of its age, of which {name} may have taken {kept}"


def encryption(here):
    """With DataKey, whatever holds what followers said has the stack's key, and every function may use it."""
    if here.parameters["DataKey"] != "on":
        return
    for name, queue in here.of("AWS::SQS::Queue").items():
        if "KmsMasterKeyId" not in queue and name != "TickDeadLetters":
            yield f"{name} keeps AWS's own key with DataKey"
    for name, table in here.of("AWS::DynamoDB::Table").items():
        if not table.get("SSESpecification", {}).get("KMSMasterKeyId"):
            yield f"{name} keeps AWS's own key with DataKey"
    for name, function in here.of("AWS::Lambda::Function").items():
        role = here.resources[function["Role"]["Fn::GetAtt"][0]]["Properties"]
        if {"Ref": "DataKeyPolicy"} not in role["ManagedPolicyArns"]:
            yield f"{name} may not use the tables and queues with DataKey"


def china(here):
    if here.parameters["AWS::Partition"] != "aws-cn":
        return
    for name, resource in here.resources.items():
        properties = resource["Properties"]
        yield from (f"{name}: China knows no {member}" for member in sorted(NOT_IN_CHINA & set(properties)))
        if properties.get("TracingConfig", {}).get("Mode") == "Active" or "xray:" in json.dumps(properties):
            yield f"{name}: Lambda knows no X-Ray in China"
        if resource["Type"] == "AWS::Lambda::EventSourceMapping" and "Tags" in properties:
            yield f"{name}: a mapping has no tags in China"
        if resource["Type"] == "AWS::Lambda::Url":
            yield f"{name}: there are no function URLs in China"


def logs(here):
    for stage in here.of("AWS::ApiGatewayV2::Stage").values():
        (group,) = references(stage["AccessLogSettings"]["DestinationArn"])
        name = here.resources[group]["Properties"]["LogGroupName"]
        if not name.startswith("/aws/vendedlogs/"):
            yield f"{name} takes a piece of the account's one resource policy for logs"


ALL = [environments, names, routes, concurrency, chains, queues, encryption, china, logs]
