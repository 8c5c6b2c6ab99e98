//! IAM: refuses what `template.yaml` does not allow, and records which rights are used.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use local::{
    rights::{Right, Rights, request},
    template::Template,
};

/// Not a function: may do everything.
pub const OPERATOR: &str = "operator";

/// Which rights the functions use.
pub struct Usage {
    rights: BTreeMap<String, Rights>,
    /// Function → what it used.
    pub used: Mutex<BTreeMap<String, BTreeSet<Right>>>,
    /// What was refused, and to which function.
    pub refused: Mutex<BTreeSet<String>>,
}

impl Usage {
    /// Nothing was requested yet.
    pub fn new(template: &Template) -> Self {
        let rights = template.functions.iter().map(|f| (f.name.clone(), f.rights.clone())).collect();
        Self { rights, used: Mutex::default(), refused: Mutex::default() }
    }

    /// Checks whether a function may send a request.
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
