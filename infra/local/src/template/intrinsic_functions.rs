//! Evaluates values of the template: partition `aws`, every parameter at its default. As in
//! CloudFormation, `!If` chooses by a condition, and `!Ref AWS::NoValue` means that the property is absent.

use std::collections::BTreeMap;

use yaml_serde::{Mapping, Value};

/// The deepest nesting of conditions and choices: CloudFormation's own templates need two or three.
const MAX_DEPTH: u32 = 16;

/// Functions that are understood here.
const KNOWN_FUNCTIONS: [&str; 8] = ["Ref", "If", "Equals", "Not", "And", "Or", "Condition", "Join"];

/// Parameters and conditions.
#[derive(Debug, Default)]
pub(super) struct IntrinsicEvaluator {
    parameters: BTreeMap<String, Value>,
    conditions: BTreeMap<String, Value>,
}

impl IntrinsicEvaluator {
    /// The parameters and conditions of a template; `given` are the parameters that a deployment sets.
    pub(super) fn of(root: &Value, given: &[(&str, &str)]) -> Self {
        let pseudo = [
            ("AWS::Partition", "aws"),
            ("AWS::Region", "us-east-1"),
            ("AWS::StackName", "local"),
            ("AWS::AccountId", "000000000000"),
            ("AWS::URLSuffix", "amazonaws.com"),
        ];
        let mut values = Self::default();
        for (name, value) in pseudo {
            values.parameters.insert(name.into(), value.into());
        }
        for (name, parameter) in members(root, "Parameters") {
            if let Some(default) = parameter.get("Default") {
                values.parameters.insert(name, default.clone());
            }
        }
        for (name, value) in given {
            values.parameters.insert((*name).to_owned(), (*value).into());
        }
        values.conditions.extend(members(root, "Conditions"));
        values
    }

    /// Evaluates `value` to a text, number or boolean, if it has one.
    pub(super) fn evaluate<'a>(&'a self, value: &'a Value) -> Option<&'a Value> {
        self.resolve(value, MAX_DEPTH)
    }

    /// A whole number.
    pub(super) fn number(&self, value: Option<&Value>) -> Option<u64> {
        match self.evaluate(value?)? {
            Value::String(text) => text.trim().parse().ok(),
            number => number.as_u64(),
        }
    }

    /// A text.
    pub(super) fn text<'a>(&'a self, value: Option<&'a Value>) -> Option<&'a str> {
        self.evaluate(value?)?.as_str()
    }

    fn resolve<'a>(&'a self, value: &'a Value, depth: u32) -> Option<&'a Value> {
        let depth = depth.checked_sub(1)?;
        let Some((function, argument)) = function_call(value) else { return Some(value) };
        match function {
            "Ref" => self.parameters.get(argument.as_str()?),
            "If" => {
                let [condition, yes, no] = argument.as_sequence()?.as_slice() else { return None };
                let chosen = if self.named_condition(condition.as_str()?, depth)? { yes } else { no };
                self.resolve(chosen, depth)
            }
            _ => None,
        }
    }

    /// Whether a named condition holds; `None` if it is not understood.
    fn named_condition(&self, name: &str, depth: u32) -> Option<bool> {
        self.condition(self.conditions.get(name)?, depth)
    }

    fn condition(&self, condition: &Value, depth: u32) -> Option<bool> {
        let depth = depth.checked_sub(1)?;
        let (function, argument) = function_call(condition)?;
        let mut parts = argument.as_sequence().into_iter().flatten();
        match function {
            "Condition" => self.named_condition(argument.as_str()?, depth),
            "Equals" => {
                let [left, right] = argument.as_sequence()?.as_slice() else { return None };
                Some(self.comparable_text(left, depth)? == self.comparable_text(right, depth)?)
            }
            "Not" => Some(!self.condition(parts.next()?, depth)?),
            "And" => parts.try_fold(true, |all, part| Some(self.condition(part, depth)? && all)),
            "Or" => parts.try_fold(false, |any, part| Some(self.condition(part, depth)? || any)),
            _ => None,
        }
    }

    /// A value as CloudFormation compares it: `1` and `"1"` are equal.
    fn comparable_text(&self, value: &Value, depth: u32) -> Option<String> {
        if let Some(("Join", argument)) = function_call(value) {
            let [glue, list] = argument.as_sequence()?.as_slice() else { return None };
            let list = self.resolve(list, depth)?;
            return match list {
                Value::Sequence(parts) => {
                    let parts: Option<Vec<_>> =
                        parts.iter().map(|part| self.comparable_text(part, depth)).collect();
                    Some(parts?.join(glue.as_str()?))
                }
                list => self.comparable_text(list, depth), // a CommaDelimitedList's default is one text
            };
        }
        match self.resolve(value, depth)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            _ => None,
        }
    }
}

/// The function that a value calls, and its argument: `!If […]`, `{Fn::If: […]}`, `!Ref X`, `{Ref: X}`.
fn function_call(value: &Value) -> Option<(&str, &Value)> {
    match value {
        Value::Tagged(tagged) => {
            let name = KNOWN_FUNCTIONS.into_iter().find(|name| tagged.tag == *name);
            Some((name.unwrap_or("another"), &tagged.value))
        }
        Value::Mapping(map) if map.len() == 1 => {
            let (name, argument) = map.iter().next()?;
            let name = name.as_str()?;
            let known = name.strip_prefix("Fn::").or(matches!(name, "Ref" | "Condition").then_some(name))?;
            Some((known, argument))
        }
        _ => None,
    }
}

fn members(root: &Value, section: &str) -> Vec<(String, Value)> {
    let section: Option<&Mapping> = root.get(section).and_then(Value::as_mapping);
    let pairs = section.into_iter().flatten();
    pairs.filter_map(|(name, value)| Some((name.as_str()?.to_owned(), value.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_what_cloudformation_would_make_of_it() {
        let root: Value = yaml_serde::from_str(
            r#"
Parameters:
  Reserved: { Type: Number, Default: 5 }
  Off: { Type: String, Default: "" }
  Zones: { Type: CommaDelimitedList, Default: "" }
  Needed: { Type: String }
  Given: { Type: String, Default: "off" }
Conditions:
  China: !Equals [!Ref "AWS::Partition", aws-cn]
  Elsewhere: !Not [!Condition China]
  Both: !And [!Condition Elsewhere, !Equals [!Ref Reserved, "5"]]
  Either: !Or [!Condition China, !Equals [!Ref Off, on]]
  NoZones: !Equals [!Join ["", !Ref Zones], ""]
  Long: { "Fn::Equals": [{ Ref: Reserved }, 5] }
  Asks: !Equals [!Ref Needed, x]
  Circle: !Condition Circle
  IsGiven: !Equals [!Ref Given, "on"]
"#,
        )
        .unwrap();
        let values = IntrinsicEvaluator::of(&root, &[("Given", "on")]);
        for (what, text, is) in [
            ("itself", "Allow", Some("Allow")),
            ("by the partition", "!If [China, !Ref 'AWS::NoValue', Allow]", Some("Allow")),
            ("the other branch is nothing", "!If [Elsewhere, !Ref 'AWS::NoValue', Allow]", None),
            ("the long spelling", r#"{ "Fn::If": [Long, a, b] }"#, Some("a")),
            ("both conditions", "!If [Both, a, b]", Some("a")),
            ("neither condition", "!If [Either, a, b]", Some("b")),
            ("an empty list", "!If [NoZones, a, b]", Some("a")),
            ("a choice in a choice", "!If [China, a, !If [Both, b, c]]", Some("b")),
            ("a parameter without a default", "!Ref Needed", None),
            ("a condition on one", "!If [Asks, a, b]", None),
            ("a condition that nobody wrote", "!If [Nobody, a, b]", None),
            ("a parameter that the deployment sets", "!If [IsGiven, a, b]", Some("a")),
            ("a circle", "!If [Circle, a, b]", None),
            ("a function that is not for values", "!GetAtt A.Arn", None),
        ] {
            let value: Value = yaml_serde::from_str(text).unwrap();
            assert_eq!(values.text(Some(&value)), is, "{what}");
        }
        let value: Value = yaml_serde::from_str("!Ref Reserved").unwrap();
        assert_eq!(values.number(Some(&value)), Some(5));
    }
}
