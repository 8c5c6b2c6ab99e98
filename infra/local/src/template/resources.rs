//! The template's resources, with what parameters and conditions make of their properties.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use yaml_serde::{Mapping, Value};

use super::{
    error::TemplateError,
    intrinsics::{Condition, Evaluator, Parameter, typed},
};

/// The type of a function.
pub const FUNCTION: &str = "AWS::Serverless::Function";

/// A template.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Sections {
    #[serde(default)]
    parameters: BTreeMap<String, Parameter>,
    #[serde(default)]
    conditions: BTreeMap<String, Condition>,
    #[serde(default)]
    globals: Globals,
    resources: Mapping,
}

/// What resources of a kind have in common.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Globals {
    function: Mapping,
}

/// The resources of a template, by their logical ids.
pub struct Resources {
    resources: Mapping,
    globals: Globals,
    evaluator: Evaluator,
}

impl Resources {
    /// Those of the template `text`, with some parameters set.
    pub fn of(text: &str, parameters: &[(&str, &str)]) -> Result<Self, TemplateError> {
        let sections: Sections =
            yaml_serde::from_str(text).map_err(|error| TemplateError(error.to_string()))?;
        let evaluator = Evaluator::new(sections.parameters, parameters, sections.conditions);
        Ok(Self { resources: sections.resources, globals: sections.globals, evaluator })
    }

    /// Logical ids and types, in the template's order.
    pub fn types(&self) -> impl Iterator<Item = (&str, &str)> {
        self.resources.iter().filter_map(|(name, resource)| Some((name.as_str()?, type_of(resource)?)))
    }

    /// Whether there is such a resource.
    pub fn has(&self, name: &str) -> bool {
        self.resources.contains_key(name)
    }

    /// The properties of a resource.
    pub fn properties<T: DeserializeOwned>(&self, name: &str) -> Result<T, TemplateError> {
        let resource =
            self.resources.get(name).ok_or_else(|| TemplateError::at(name, "there is no such resource"))?;
        let own = resource.get("Properties").and_then(Value::as_mapping).cloned().unwrap_or_default();
        let whole = match type_of(resource) {
            Some(FUNCTION) => merge(self.globals.function.clone(), own),
            _ => own,
        };
        typed(name, &self.evaluator.resolve(name, &Value::Mapping(whole))?.unwrap_or_default())
    }
}

fn type_of(resource: &Value) -> Option<&str> {
    resource.get("Type")?.as_str()
}

/// As SAM merges `Globals`: maps member by member, and of everything else a resource's own is taken.
fn merge(mut shared: Mapping, own: Mapping) -> Mapping {
    for (name, value) in own {
        let value = match (shared.remove(&name), value) {
            (Some(Value::Mapping(shared)), Value::Mapping(own)) => Value::Mapping(merge(shared, own)),
            (_, own) => own,
        };
        shared.insert(name, value);
    }
    shared
}
