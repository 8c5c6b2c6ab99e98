//! The template's functions. [`Evaluator`] puts in what parameters and conditions decide: partition `aws`, every parameter
//! at its default. What names another resource stays, and is read as a [`Reference`]. As in CloudFormation, `!If` chooses
//! by a condition, and `!Ref AWS::NoValue` means that the property is absent. Functions are spelled short, not `Fn::If`.

use std::collections::BTreeMap;

use serde::Deserialize;
use yaml_serde::{Mapping, Value};

use super::error::TemplateError;

/// Names by which the template may ask for what it does not define.
const PSEUDO_PARAMETERS: [(&str, &str); 5] = [
    ("AWS::Partition", "aws"),
    ("AWS::Region", "us-east-1"),
    ("AWS::StackName", "local"),
    ("AWS::AccountId", "000000000000"),
    ("AWS::URLSuffix", "amazonaws.com"),
];
/// The deepest nesting of named conditions: CloudFormation's own templates need two or three.
const MAX_DEPTH: u32 = 16;

/// A function that names a resource; also a parameter without a default.
#[derive(Debug, Deserialize)]
pub enum Reference {
    /// By its logical id.
    Ref(String),
    /// An attribute of it, `Table.Arn`.
    GetAtt(String),
    /// Within a text, `${Table.Arn}/index/due`.
    Sub(String),
}

/// The logical id of a resource that the template names by its ARN: `!GetAtt Queue.Arn`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Reference")]
pub struct Arn(pub String);

impl TryFrom<Reference> for Arn {
    type Error = &'static str;

    fn try_from(reference: Reference) -> Result<Self, Self::Error> {
        let Reference::GetAtt(text) = reference else { return Err("is no !GetAtt of an ARN") };
        text.strip_suffix(".Arn").map(|name| Self(name.to_owned())).ok_or("is no ARN")
    }
}

/// A function that is evaluated here.
#[derive(Deserialize)]
enum Function {
    Ref(String),
    /// A condition's name, and what stands here if it holds and if not.
    If(String, Value, Value),
    /// What is put between, and a list.
    Join(String, Value),
}

/// A parameter.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Parameter {
    default: Option<Value>,
}

/// A condition.
#[derive(Deserialize)]
pub(super) enum Condition {
    /// Another one, by its name.
    #[serde(rename = "Condition")]
    Named(String),
    Equals(Value, Value),
    Not((Box<Self>,)),
    And(Vec<Self>),
    Or(Vec<Self>),
}

/// Parameters and conditions.
pub(super) struct Evaluator {
    parameters: BTreeMap<String, Value>,
    conditions: BTreeMap<String, Condition>,
}

impl Evaluator {
    /// The parameters and conditions of a template; `given` are the parameters that a deployment sets.
    pub(super) fn new(
        parameters: BTreeMap<String, Parameter>,
        given: &[(&str, &str)],
        conditions: BTreeMap<String, Condition>,
    ) -> Self {
        let defaults =
            parameters.into_iter().filter_map(|(name, parameter)| Some((name, parameter.default?)));
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), Value::from(*value));
        let parameters = PSEUDO_PARAMETERS.iter().map(text).chain(defaults).chain(given.iter().map(text));
        Self { parameters: parameters.collect(), conditions }
    }

    /// `value` with what parameters and conditions make of it; [`None`] if it is absent.
    pub(super) fn resolve(&self, place: &str, value: &Value) -> Result<Option<Value>, TemplateError> {
        match (function(place, value)?, value) {
            (Some(Function::Ref(name)), _) if name == "AWS::NoValue" => Ok(None),
            (Some(Function::Ref(name)), _) => Ok(Some(self.parameters.get(&name).unwrap_or(value).clone())),
            (Some(Function::If(condition, yes, no)), _) => {
                let chosen = if self.holds(place, &condition, MAX_DEPTH)? { yes } else { no };
                self.resolve(place, &chosen)
            }
            (None, Value::Sequence(items)) => {
                let mut kept = Vec::new();
                for (number, item) in items.iter().enumerate() {
                    kept.extend(self.resolve(&format!("{place}[{number}]"), item)?);
                }
                Ok(Some(Value::Sequence(kept)))
            }
            (None, Value::Mapping(members)) => {
                let mut kept = Mapping::new();
                for (name, member) in members {
                    let place = format!("{place}.{}", name.as_str().unwrap_or("?"));
                    if let Some(member) = self.resolve(&place, member)? {
                        kept.insert(name.clone(), member);
                    }
                }
                Ok(Some(Value::Mapping(kept)))
            }
            (Some(Function::Join(..)) | None, _) => Ok(Some(value.clone())),
        }
    }

    /// Whether a named condition holds.
    fn holds(&self, place: &str, name: &str, depth: u32) -> Result<bool, TemplateError> {
        let depth = depth.checked_sub(1).ok_or_else(|| {
            TemplateError::at(place, format!("the conditions before {name} are too many, or a circle"))
        })?;
        let condition = self.conditions.get(name);
        let condition =
            condition.ok_or_else(|| TemplateError::at(place, format!("there is no condition {name}")))?;
        self.condition(place, condition, depth)
    }

    fn condition(&self, place: &str, condition: &Condition, depth: u32) -> Result<bool, TemplateError> {
        match condition {
            Condition::Named(name) => self.holds(place, name, depth),
            Condition::Equals(left, right) => Ok(self.text(place, left)? == self.text(place, right)?),
            Condition::Not((part,)) => Ok(!self.condition(place, part, depth)?),
            Condition::And(parts) => {
                parts.iter().try_fold(true, |all, part| Ok(self.condition(place, part, depth)? && all))
            }
            Condition::Or(parts) => {
                parts.iter().try_fold(false, |any, part| Ok(self.condition(place, part, depth)? || any))
            }
        }
    }

    /// A value as CloudFormation compares it: `1` and `"1"` are equal.
    fn text(&self, place: &str, value: &Value) -> Result<String, TemplateError> {
        if let Some(Function::Join(glue, list)) = function(place, value)? {
            return match self.resolve(place, &list)? {
                Some(Value::Sequence(parts)) => {
                    let parts: Result<Vec<_>, _> = parts.iter().map(|part| self.text(place, part)).collect();
                    Ok(parts?.join(&glue))
                }
                list => self.text(place, &list.unwrap_or_default()), // a CommaDelimitedList's default is one text
            };
        }
        match self.resolve(place, value)? {
            Some(Value::String(text)) => Ok(text),
            Some(Value::Number(number)) => Ok(number.to_string()),
            Some(Value::Bool(truth)) => Ok(truth.to_string()),
            other => Err(TemplateError::at(
                place,
                format!("a condition compares {other:?}, which has no value here"),
            )),
        }
    }
}

/// The function that a value calls, if it is one that is evaluated here.
fn function(place: &str, value: &Value) -> Result<Option<Function>, TemplateError> {
    match value {
        Value::Tagged(call) if ["Ref", "If", "Join"].iter().any(|name| call.tag == *name) => {
            typed(place, value).map(Some)
        }
        _ => Ok(None),
    }
}

/// `value` as a `T`.
///
/// # Errors
/// What is missing or not understood, and where.
pub(super) fn typed<'v, T: Deserialize<'v>>(place: &str, value: &'v Value) -> Result<T, TemplateError> {
    serde_path_to_error::deserialize(value).map_err(|error| match error.path().to_string().as_str() {
        "." => TemplateError::at(place, error.inner()),
        path => TemplateError::at(&format!("{place}.{path}"), error.inner()),
    })
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
  Five: !Equals [!Ref Reserved, 5]
  Asks: !Equals [!Ref Needed, x]
  Circle: !Condition Circle
  IsGiven: !Equals [!Ref Given, "on"]
"#,
        )
        .unwrap();
        let section = |name: &str| root[name].clone();
        let values = Evaluator::new(
            yaml_serde::from_value(section("Parameters")).unwrap(),
            &[("Given", "on")],
            yaml_serde::from_value(section("Conditions")).unwrap(),
        );
        let resolve = |text: &str| {
            let value = yaml_serde::from_str(text).unwrap();
            values.resolve("Here", &value).map_err(|error| error.to_string())
        };
        for (what, text, is) in [
            ("itself", "Allow", Some("Allow")),
            ("by the partition", "!If [China, !Ref 'AWS::NoValue', Allow]", Some("Allow")),
            ("the other branch is nothing", "!If [Elsewhere, !Ref 'AWS::NoValue', Allow]", None),
            ("a number and its text", "!If [Five, a, b]", Some("a")),
            ("both conditions", "!If [Both, a, b]", Some("a")),
            ("neither condition", "!If [Either, a, b]", Some("b")),
            ("an empty list", "!If [NoZones, a, b]", Some("a")),
            ("a choice in a choice", "!If [China, a, !If [Both, b, c]]", Some("b")),
            ("a number", "!Ref Reserved", Some("5")),
            ("what is absent in a list", "[!Ref 'AWS::NoValue', a]", Some("[a]")),
            (
                "what is absent among members",
                "{ a: !If [Both, !Ref 'AWS::NoValue', 1], b: 2 }",
                Some("{ b: 2 }"),
            ),
            ("a parameter that the deployment sets", "!If [IsGiven, a, b]", Some("a")),
            ("a parameter without a default", "!Ref Needed", Some("!Ref Needed")),
            ("another resource", "!GetAtt A.Arn", Some("!GetAtt A.Arn")),
        ] {
            let is: Option<Value> = is.map(|text| yaml_serde::from_str(text).unwrap());
            assert_eq!(resolve(text), Ok(is), "{what}");
        }
        for (what, text, error) in [
            (
                "a condition on a parameter without a default",
                "!If [Asks, a, b]",
                "Here: a condition compares",
            ),
            (
                "a condition that nobody wrote",
                "[!If [Nobody, a, b]]",
                "Here[0]: there is no condition Nobody",
            ),
            ("a circle", "{ a: !If [Circle, a, b] }", "Here.a: the conditions before Circle"),
            ("too few branches", "!If [Both, a]", "Here.If: invalid length 2"),
        ] {
            let found = resolve(text).unwrap_err();
            assert!(found.contains(error), "{what}: {found}");
        }
    }
}
