//! IAM: refuses what `template.yaml` does not allow, and notes what it was asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use local::{
    rights::{Right, Rights, request},
    template::Template,
};

/// Who is no function and may do all.
pub const OPERATOR: &str = "operator";

/// What functions asked for.
pub struct Usage {
    rights: BTreeMap<String, Rights>,
    /// Function → what it used.
    pub used: Mutex<BTreeMap<String, BTreeSet<Right>>>,
    /// What was refused, with who was.
    pub refused: Mutex<BTreeSet<String>>,
}

impl Usage {
    /// Nothing was asked yet.
    pub fn new(template: &Template) -> Self {
        let rights = template.functions.iter().map(|f| (f.name.clone(), f.rights.clone())).collect();
        Self { rights, used: Mutex::default(), refused: Mutex::default() }
    }

    /// Whether a function may send a request.
    ///
    /// # Errors
    /// The right that it lacks.
    pub fn check(&self, function: &str, target: &str, body: &[u8]) -> Result<(), String> {
        if function == OPERATOR {
            return Ok(());
        }
        let needed = request::needed(target, body).unwrap();
        self.used.lock().unwrap().entry(function.to_owned()).or_default().extend(needed);
        self.rights[function].check(target, body).map(drop).inspect_err(|what| {
            self.refused.lock().unwrap().insert(format!("{function}: {what}"));
        })
    }
}
