//! The stack: what `sam deploy` does, with the changes that the emulator and this machine need.

use std::{collections::BTreeMap, path::Path, process::Command};

use local::template::{self, EventSpec};
use oahub_tests::{binary, hub, wait::until};
use serde_json::{Value, json};

use crate::emulator::Emulator;

const STACK: &str = "hub";
const BUCKET: &str = "/code";

/// Creates the stack; returns the URL of its HTTP API.
pub async fn deploy(emulator: &Emulator, bootstraps: &Path, wechat: &str) -> String {
    upload(emulator, bootstraps).await;
    let secret = json!({
        "component_app_id": hub::COMPONENT_APP_ID, "component_app_secret": hub::COMPONENT_APP_SECRET, "component_token": hub::VERIFICATION_TOKEN,
        "component_token_previous": "", "component_aes_key": hub::AES_KEY, "component_aes_key_previous": "",
        "admin_key": hub::ADMIN_KEY, "admin_key_previous": "",
    });
    let secret = json!({"Name": "oahub", "SecretString": secret.to_string()});
    emulator.target("secretsmanager", "secretsmanager.CreateSecret", &secret).await;
    // from S3, as SAM and the CDK do: a template above 51,200 bytes cannot be sent in the request
    let body = format!("{BUCKET}/template.yaml");
    emulator.put(&body, adapted_template(&emulator.url, wechat).into_bytes()).await;
    let body = format!("{}{body}", emulator.url);
    change_stack(emulator, "CreateStack", &body, "https://not.known.yet").await;
    let resources = emulator.query("cloudformation", "DescribeStackResources", &[("StackName", STACK)]).await;
    let api = physical_id(&resources, "HttpApi");
    add_routes(emulator, &api).await;
    let url = format!("{}/_aws/execute-api/{api}/$default", emulator.url);
    change_stack(emulator, "UpdateStack", &body, &url).await;
    url
}

/// Deletes the stack and waits for the end.
pub async fn remove(emulator: &Emulator) {
    emulator.query("cloudformation", "DeleteStack", &[("StackName", STACK)]).await;
    until("the stack's end", async || {
        let stacks = emulator.query("cloudformation", "ListStacks", &[]).await;
        stacks.contains("DELETE_COMPLETE").then_some(())
    })
    .await;
}

/// template.yaml with other URLs of code, WeChat, DynamoDB and SQS, an http PublicUrl, whole items in local
/// indexes: ministack returns what the index holds, where DynamoDB would read the table.
fn adapted_template(emulator: &str, wechat: &str) -> String {
    let mut text = String::new();
    let mut in_local_index = false;
    for line in template::TEMPLATE.lines() {
        let line = match line.split_once("CodeUri: functions/") {
            Some((before, package)) => format!("{before}CodeUri: s3:/{BUCKET}/{package}.zip"),
            None if in_local_index => line.replace("KEYS_ONLY", "ALL"),
            None => line.replace("\"https://[", "\"http[s]*://["),
        };
        in_local_index = line.ends_with("LocalSecondaryIndexes:") || (in_local_index && !line.is_empty());
        text.push_str(&line);
        text.push('\n');
        if line.starts_with("        OAHUB_STACK:") {
            for name in ["API", "MP", "OPEN"] {
                text.push_str(&format!("        OAHUB_WECHAT_{name}_URL: {wechat}\n"));
            }
            for name in ["DYNAMODB", "SQS"] {
                text.push_str(&format!("        AWS_ENDPOINT_URL_{name}: {emulator}\n"));
            }
        }
    }
    text
}

async fn upload(emulator: &Emulator, bootstraps: &Path) {
    emulator.put(BUCKET, Vec::new()).await;
    let python = emulator.program.with_file_name("python3");
    for function in template::parse(template::TEMPLATE).unwrap().functions {
        let package = function.code_uri.trim_start_matches("functions/");
        let folder = emulator.directory.path().join(package);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(binary::bootstrap(bootstraps, package), folder.join("bootstrap")).unwrap();
        let zip = Command::new(&python)
            .args(["-m", "zipfile", "-c", "code.zip", "bootstrap"])
            .current_dir(&folder)
            .status()
            .unwrap();
        assert!(zip.success());
        let code = std::fs::read(folder.join("code.zip")).unwrap();
        emulator.put(&format!("{BUCKET}/{package}.zip"), code).await;
    }
}

/// Creates or updates the stack and waits until it is done.
async fn change_stack(emulator: &Emulator, action: &str, template: &str, public_url: &str) {
    let parameters = [
        ("StackName", STACK),
        ("TemplateURL", template),
        ("Parameters.member.1.ParameterKey", "PublicUrl"),
        ("Parameters.member.1.ParameterValue", public_url),
        ("Parameters.member.2.ParameterKey", "SecretsId"),
        ("Parameters.member.2.ParameterValue", "oahub"),
        ("Parameters.member.3.ParameterKey", "Architecture"),
        ("Parameters.member.3.ParameterValue", "x86_64"),
        ("Capabilities.member.1", "CAPABILITY_IAM"),
        ("Capabilities.member.2", "CAPABILITY_AUTO_EXPAND"),
    ];
    emulator.query("cloudformation", action, &parameters).await;
    let complete = action.replace("Stack", "").to_uppercase() + "_COMPLETE";
    until(action, async || {
        let stacks = emulator.query("cloudformation", "DescribeStacks", &[("StackName", STACK)]).await;
        assert!(!stacks.contains("ROLLBACK") && !stacks.contains("FAILED"), "{stacks}\n{}", emulator.log());
        stacks.contains(&format!("<StackStatus>{complete}</StackStatus>")).then_some(())
    })
    .await;
}

/// The emulator does not read the routes out of the API's body: they are added as API Gateway would import them.
async fn add_routes(emulator: &Emulator, api: &str) {
    let processed = [("StackName", STACK), ("TemplateStage", "Processed")];
    let answer = emulator.query("cloudformation", "GetTemplate", &processed).await;
    let body = answer.split("<TemplateBody>").nth(1).unwrap().split("</TemplateBody>").next().unwrap();
    let body = ["quot;\"", "lt;<", "gt;>", "#x27;'", "#39;'", "apos;'", "amp;&"].iter().fold(
        body.to_owned(),
        |text, pair| {
            let (name, character) = pair.split_once(';').unwrap();
            text.replace(&format!("&{name};"), character)
        },
    );
    let stack: Value = serde_json::from_str(&body).unwrap();
    let template = template::parse(template::TEMPLATE).unwrap();
    let packages: BTreeMap<_, _> = template
        .functions
        .iter()
        .map(|f| (f.name.as_str(), f.code_uri.trim_start_matches("functions/")))
        .collect();
    let mut routes = 0;
    for (path, methods) in stack["Resources"]["HttpApi"]["Properties"]["Body"]["paths"].as_object().unwrap() {
        for (method, route) in methods.as_object().unwrap() {
            let uri = route["x-amazon-apigateway-integration"]["uri"].to_string();
            let function = uri.split("${").find_map(|part| part.split_once(".Arn}")).unwrap().0;
            let arn =
                format!("arn:aws:lambda:us-east-1:000000000000:function:{STACK}-{}", packages[function]);
            let integration =
                json!({"integrationType": "AWS_PROXY", "integrationUri": arn, "payloadFormatVersion": "2.0"});
            let made =
                emulator.rest("apigateway", &format!("/v2/apis/{api}/integrations"), &integration).await;
            let method = if method.contains("any") { "ANY".to_owned() } else { method.to_uppercase() };
            let target = format!("integrations/{}", made["integrationId"].as_str().unwrap());
            let route = json!({"routeKey": format!("{method} {path}"), "target": target});
            emulator.rest("apigateway", &format!("/v2/apis/{api}/routes"), &route).await;
            routes += 1;
        }
    }
    let events = template.functions.iter().flat_map(|f| &f.events);
    assert_eq!(
        routes,
        events.filter(|e| matches!(e, EventSpec::Http { .. })).count(),
        "the transform lost a route"
    );
}

/// The physical id of a resource.
fn physical_id(resources: &str, logical_id: &str) -> String {
    let of = |part: &str, tag: &str| {
        let (_, rest) = part.split_once(&format!("<{tag}>"))?;
        rest.split_once('<').map(|(text, _)| text.to_owned())
    };
    let mut all = resources.split("<member>");
    let found = all.find(|part| of(part, "LogicalResourceId").as_deref() == Some(logical_id)).unwrap();
    of(found, "PhysicalResourceId").unwrap()
}
