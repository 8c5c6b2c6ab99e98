//! Which files import which: no circles within a crate, and between the rooms of `shared` only what ARCHITECTURE.md
//! names.
//!
//! Reads the sources' text: `use` trees, and paths that begin with `crate`, `super` or a child module's name. What
//! stands in a file's `mod tests` is left out.

use std::collections::{BTreeMap, BTreeSet};

use crate::{read, read_files};

/// A module's path within its crate; empty for the crate itself.
type Module = Vec<String>;
/// What each module imports of its own crate.
type Imports = BTreeMap<Module, BTreeSet<Module>>;

/// The crates' folders of sources.
fn source_folders() -> BTreeSet<String> {
    let manifests = read_files(".", &["Cargo.toml"]);
    let folder = |path: &str| path.strip_suffix("Cargo.toml").unwrap().to_owned() + "src/";
    let has_sources =
        |folder: &String| !read_files(".", &[".rs"]).iter().all(|(p, _)| !p.starts_with(folder));
    manifests.iter().map(|(path, _)| folder(path)).filter(|f| f != "src/").filter(has_sources).collect()
}

/// The module that a file is; none for a binary.
fn module_of(path: &str) -> Option<Module> {
    let mut parts: Module = path.strip_suffix(".rs")?.split('/').map(str::to_owned).collect();
    match parts.last()?.as_str() {
        "main" => return None,
        "lib" | "mod" => drop(parts.pop()),
        _ => {}
    }
    Some(parts)
}

/// The text without comments and without the tests at its end.
fn code(text: &str) -> String {
    let tests = text.find("\n#[cfg(test)]").filter(|at| text[*at..].contains("\nmod tests {"));
    let text = &text[..tests.unwrap_or(text.len())];
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The paths of a `use` tree.
fn expand(tree: &str, into: &mut Vec<String>) {
    let Some((prefix, rest)) = tree.split_once('{') else {
        into.push(tree.split(" as ").next().unwrap_or_default().split_whitespace().collect());
        return;
    };
    let prefix: String = prefix.split_whitespace().collect();
    let body = rest.rsplit_once('}').map_or(rest, |(body, _)| body);
    let (mut depth, mut start) = (0, 0);
    for (at, letter) in body.char_indices().chain([(body.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = body[start..at].trim();
                if !part.is_empty() {
                    expand(&format!("{prefix}{part}"), into);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

fn is_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// Paths in a text that begin with `start::`, as a word.
fn paths_from(text: &str, start: &str, into: &mut Vec<String>) {
    for (at, _) in text.match_indices(&format!("{start}::")) {
        let before = text[..at].chars().next_back();
        if before.is_none_or(|letter| !is_name(letter) && letter != ':') {
            let end = text[at..].find(|letter| !is_name(letter) && letter != ':');
            into.push(text[at..end.map_or(text.len(), |end| at + end)].to_owned());
        }
    }
}

/// What one file refers to of its own crate, as the modules that these are.
fn references(module: &Module, text: &str, all: &BTreeSet<Module>) -> BTreeSet<Module> {
    let text = code(text);
    let children: Vec<&String> = all
        .iter()
        .filter(|m| m.len() == module.len() + 1 && m.starts_with(module))
        .filter_map(|m| m.last())
        .collect();
    let (mut paths, mut body, mut tree) = (Vec::new(), String::new(), None::<String>);
    for line in text.lines() {
        let begins = line
            .trim_start()
            .trim_start_matches("pub(crate) ")
            .trim_start_matches("pub ")
            .strip_prefix("use ");
        match (&mut tree, begins) {
            (Some(open), _) => open.push_str(line),
            (None, Some(rest)) => tree = Some(rest.to_owned()),
            (None, None) => {
                body.push_str(line);
                body.push('\n');
            }
        }
        if let Some(whole) = tree.take_if(|open| open.contains(';')) {
            expand(whole.trim_end_matches(';').trim(), &mut paths);
        }
    }
    for start in ["crate", "super"].into_iter().chain(children.iter().map(|child| child.as_str())) {
        paths_from(&body, start, &mut paths);
    }
    let resolve = |path: &String| {
        let mut segments = path.split("::").filter(|segment| !segment.is_empty()).peekable();
        let mut at: Module = match *segments.peek()? {
            "crate" => {
                segments.next();
                Module::new()
            }
            "self" => {
                segments.next();
                module.clone()
            }
            "super" => {
                let mut at = module.clone();
                while segments.next_if_eq(&"super").is_some() {
                    at.pop();
                }
                at
            }
            first if children.iter().any(|child| *child == first) => module.clone(),
            _ => return None,
        };
        for segment in segments {
            at.push(segment.to_owned());
            if !all.contains(&at) {
                at.pop();
                break;
            }
        }
        (at != *module).then_some(at)
    };
    paths.iter().filter_map(resolve).collect()
}

fn imports_of(folder: &str) -> Imports {
    let files: Vec<(Module, String)> = read_files(folder, &[".rs"])
        .into_iter()
        .filter_map(|(path, text)| Some((module_of(path.strip_prefix(folder)?)?, text)))
        .collect();
    let all: BTreeSet<Module> = files.iter().map(|(module, _)| module.clone()).collect();
    files.iter().map(|(module, text)| (module.clone(), references(module, text, &all))).collect()
}

/// All that a module reaches by imports.
fn reaches(imports: &Imports, from: &Module) -> BTreeSet<Module> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from.clone()]);
    while let Some(module) = open.pop() {
        for next in imports.get(&module).into_iter().flatten() {
            if reached.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    reached
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut circles = Vec::new();
    for folder in source_folders() {
        let imports = imports_of(&folder);
        for module in imports.keys() {
            let back = reaches(&imports, module);
            if back.contains(module) {
                circles.push(format!("{folder}{}", module.join("/")));
            }
        }
    }
    assert!(circles.is_empty(), "files that import each other in a circle: {circles:?}");
}

/// Rows of ARCHITECTURE.md's table of imports: a room of `shared`, and the rooms that it uses.
fn documented_imports() -> BTreeMap<String, BTreeSet<String>> {
    let text = read("ARCHITECTURE.md");
    let table = text.split("| room of `shared` | uses |").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').collect();
        let uses = names(cells[2]);
        names(cells[1]).into_iter().map(move |room| (room, uses.clone())).collect::<Vec<_>>()
    };
    rows.flat_map(row).collect()
}

#[test]
fn the_rooms_of_shared_use_what_the_map_says() {
    let mut actual: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, uses) in imports_of("shared/src/") {
        let Some(room) = module.first() else { continue };
        let used = uses.iter().filter_map(|used| used.first()).filter(|used| *used != room).cloned();
        actual.entry(room.clone()).or_default().extend(used);
    }
    assert_eq!(documented_imports(), actual, "left: ARCHITECTURE.md, section 4; right: the sources");
}

/// Module tables at the head of a file name modules that it declares; that of `shared` names all.
#[test]
fn tables_of_modules_are_true() {
    let mut tables = 0;
    for (path, text) in read_files(".", &["lib.rs", "mod.rs"]) {
        let head: Vec<&str> = text.lines().take_while(|line| line.starts_with("//!")).collect();
        let rows = head.iter().filter(|line| line.starts_with("//! | [`"));
        let named: BTreeSet<String> = rows
            .flat_map(|row| row.split('|').nth(1).unwrap_or_default().split("[`").skip(1).collect::<Vec<_>>())
            .map(|name| name.split('`').next().unwrap_or_default().to_owned())
            .collect();
        if named.is_empty() {
            continue;
        }
        tables += 1;
        let declares = |line: &str| {
            let line = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            line.strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned)
        };
        let declared: BTreeSet<String> =
            text.lines().filter_map(declares).filter(|name| name != "tests" && name != "fake").collect();
        let is_module = |name: &&String| name.starts_with(|letter: char| letter.is_ascii_lowercase());
        let strange: Vec<_> =
            named.iter().filter(is_module).filter(|name| !declared.contains(*name)).collect();
        assert!(
            strange.is_empty(),
            "the table at the head of {path} names {strange:?}, which are not its modules"
        );
        if path == "shared/src/lib.rs" {
            assert_eq!(named, declared, "left: the table at the head of {path}; right: its modules");
        }
    }
    assert!(tables > 3, "no tables were found");
}
