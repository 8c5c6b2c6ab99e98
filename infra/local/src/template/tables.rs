//! Tables.

use serde::Deserialize;

use super::specs::{IndexSpec, TableSpec};

/// The properties of a table.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TableProperties {
    attribute_definitions: Vec<Attribute>,
    key_schema: Vec<Attribute>,
    #[serde(default)]
    global_secondary_indexes: Vec<Index>,
    #[serde(default)]
    local_secondary_indexes: Vec<Index>,
    time_to_live_specification: Option<TimeToLive>,
}

/// An attribute with its type (`S`), or with its part in a key (`HASH`).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attribute {
    attribute_name: String,
    #[serde(alias = "KeyType")]
    attribute_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Index {
    index_name: String,
    key_schema: Vec<Attribute>,
    projection: Projection,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Projection {
    projection_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TimeToLive {
    attribute_name: String,
}

impl TableProperties {
    /// The table with the logical id `name`.
    pub fn read(self, name: &str) -> TableSpec {
        let global = self.global_secondary_indexes.into_iter().map(|index| index.read(true));
        let local = self.local_secondary_indexes.into_iter().map(|index| index.read(false));
        TableSpec {
            name: name.to_owned(),
            attributes: pairs(self.attribute_definitions).collect(),
            key: pairs(self.key_schema).collect(),
            indexes: global.chain(local).collect(),
            ttl: self.time_to_live_specification.map(|ttl| ttl.attribute_name),
        }
    }
}

impl Index {
    fn read(self, global: bool) -> IndexSpec {
        IndexSpec {
            name: self.index_name,
            global,
            key: pairs(self.key_schema).collect(),
            projection: self.projection.projection_type,
        }
    }
}

fn pairs(attributes: Vec<Attribute>) -> impl Iterator<Item = (String, String)> {
    attributes.into_iter().map(|attribute| (attribute.attribute_name, attribute.attribute_type))
}
