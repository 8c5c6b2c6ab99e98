"""What a transformed template is in one deployment: its parameters and conditions, as CloudFormation reads them."""

NOTHING = object()  # what !Ref AWS::NoValue leaves


class Deployment:
    """`parameters` beside the template's defaults; pseudo parameters are parameters too."""

    def __init__(self, template, parameters):
        self.conditions = template.get("Conditions", {})
        self.parameters = {name: p["Default"] for name, p in template["Parameters"].items() if "Default" in p}
        self.parameters.update(parameters)
        made = ((name, r) for name, r in template["Resources"].items() if self.holds(r.get("Condition")))
        self.resources = {name: {**r, "Properties": self.resolve(r.get("Properties", {}))} for name, r in made}

    def holds(self, condition):
        """A condition's name, or what stands below one."""
        if condition is None:
            return True
        if isinstance(condition, str):
            return self.holds(self.conditions[condition])
        ((function, argument),) = condition.items()
        match function:
            case "Condition":
                return self.holds(argument)
            case "Fn::Equals":
                left, right = map(self.resolve, argument)
                return str(left) == str(right)
            case "Fn::Not":
                return not self.holds(argument[0])
            case "Fn::And":
                return all(map(self.holds, argument))
            case "Fn::Or":
                return any(map(self.holds, argument))
        raise ValueError(f"a condition that is not understood: {condition}")

    def resolve(self, value):
        """References to resources, and functions of them, stay as they are."""
        if isinstance(value, list):
            return [v for v in map(self.resolve, value) if v is not NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((function, argument),) = value.items()
            match function:
                case "Ref" if argument == "AWS::NoValue":
                    return NOTHING
                case "Ref":
                    return self.parameters.get(argument, value)
                case "Fn::If":
                    return self.resolve(argument[1] if self.holds(argument[0]) else argument[2])
                case "Fn::Join":
                    parts = self.resolve(argument[1])
                    return argument[0].join(parts) if all(isinstance(p, str) for p in parts) else value
                case "Fn::Sub" if isinstance(argument, str):
                    for name, given in self.parameters.items():
                        argument = argument.replace(f"${{{name}}}", str(given))
                    return argument if "${" not in argument else {"Fn::Sub": argument}
        resolved = ((name, self.resolve(v)) for name, v in value.items())
        return {name: v for name, v in resolved if v is not NOTHING}

    def of(self, kind):
        return {name: r["Properties"] for name, r in self.resources.items() if r["Type"] == kind}
