//! IAM: refuses what `template.yaml` does not allow, and records which rights are used.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use local::{
    iam::{
        permission::{Permission, Permissions},
        required_permissions,
    },
    template::Template,
};

/// Not a function: may do everything.
pub const OPERATOR: &str = "operator";

/// Which rights the functions use.
pub struct IamMonitor {
    allowed: BTreeMap<String, Permissions>,
    /// Function → the rights that it used, and those that it lacked.
    pub used: Mutex<BTreeMap<String, BTreeSet<Permission>>>,
    /// What was refused, and to which function.
    pub refused: Mutex<BTreeSet<String>>,
}

impl IamMonitor {
    /// Nothing was requested yet.
    pub fn new(template: &Template) -> Self {
        let rights = template.functions.iter().map(|f| (f.name.clone(), f.permissions.clone())).collect();
        Self { allowed: rights, used: Mutex::default(), refused: Mutex::default() }
    }

    /// Checks whether a function may send a request.
    ///
    /// # Errors
    /// The right that it lacks.
    pub fn check(&self, function: &str, target: &str, body: &[u8]) -> Result<(), String> {
        if function == OPERATOR {
            return Ok(());
        }
        let mut missing = None;
        for wanted in required_permissions::required(target, body).unwrap() {
            let answer = self.allowed[function].allowing(&wanted);
            let rights = answer.unwrap_or_else(|right| vec![missing.insert(right).clone()]);
            self.used.lock().unwrap().entry(function.to_owned()).or_default().extend(rights);
        }
        missing.map_or(Ok(()), |right| {
            self.refused.lock().unwrap().insert(format!("{function}: {right}"));
            Err(right.to_string())
        })
    }
}
