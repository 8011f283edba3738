//! `config/default.toml` as data: each key with its explanation.

use super::environment::{DEPLOYMENT, own_variable};
use super::keys::MANUAL;

/// One key of `config/default.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The section or the list of tables that the key is in.
    pub section: String,
    /// Whether `section` is a list of tables.
    pub in_list: bool,
    /// The key without its section.
    pub key: String,
    /// The default in the words of the file; `None` if a value is required.
    pub default: Option<String>,
    /// The environment variables that set it, the deployment's own first; empty for keys of a list.
    pub variables: Vec<String>,
    /// What the setting is for.
    pub text: String,
}

/// Beginnings of the lines that end the explanation.
const FACTS: [&str; 3] = ["Environment: ", "Default: ", "Needed."];

/// Every key, in the order of `config/default.toml`.
#[must_use]
pub fn reference() -> Vec<Explained> {
    let mut found = Vec::new();
    let (mut section, mut in_list, mut comment) = (String::new(), false, Vec::new());
    for line in MANUAL.lines() {
        if let Some(text) = line.strip_prefix("# ") {
            comment.push(text);
            continue;
        }
        // The example of a list is commented out with a `#` and no space.
        let code = line.trim_start_matches('#');
        if let Some((key, _)) = code.split_once(" = ") {
            found.push(explained((&section, in_list), key, &comment));
        } else if let Some(name) = code.strip_prefix('[') {
            section = name.trim_matches(['[', ']']).to_owned();
            in_list = name.starts_with('[');
        }
        comment.clear();
    }
    found
}

fn explained((section, in_list): (&str, bool), key: &str, comment: &[&str]) -> Explained {
    let is_fact = |line: &&str| FACTS.iter().any(|fact| line.starts_with(fact));
    let at = comment.iter().position(is_fact).unwrap_or(comment.len());
    let (text, facts) = comment.split_at(at);
    let facts = facts.join(" ");
    let default = facts.split_once("Default: ").map(|(_, rest)| rest.trim_end_matches('.').to_owned());
    Explained {
        section: section.to_owned(),
        in_list,
        key: key.to_owned(),
        default,
        variables: if in_list { Vec::new() } else { variables(&format!("{section}.{key}")) },
        text: text.join(" "),
    }
}

fn variables(key: &str) -> Vec<String> {
    let deployment = DEPLOYMENT.iter().filter(|(_, known)| *known == key).map(|(name, _)| (*name).to_owned());
    deployment.chain([own_variable(key)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::Keys;

    #[test]
    fn every_key_is_explained_once_and_says_the_variable_that_its_comment_names() {
        let all = reference();
        let own: Vec<_> = all.iter().filter(|one| !one.in_list).collect();
        let mut names: Vec<_> = own.iter().map(|one| format!("{}.{}", one.section, one.key)).collect();
        names.sort();
        assert_eq!(names, Keys::from_manual().unwrap().names().collect::<Vec<_>>());
        for one in &own {
            assert!(!one.text.is_empty() && one.default.is_some(), "{one:?}");
        }
        let named = MANUAL.matches("# Environment: ").count();
        assert_eq!(own.iter().filter(|one| one.variables.len() == 2).count(), named);
        assert_eq!(named, DEPLOYMENT.len());
    }

    #[test]
    fn needed_keys_of_a_list_have_no_default() {
        let needed: Vec<_> = reference().into_iter().filter(|one| one.default.is_none()).collect();
        let keys: Vec<_> = needed.iter().map(|one| format!("{}.{}", one.section, one.key)).collect();
        let expected = ["schedule.name", "schedule.cron", "schedule.function"];
        let expected = [&expected[..], &["deletion.name", "deletion.table", "deletion.id", "python.command"]];
        assert_eq!(keys, expected.concat());
        assert!(needed.iter().all(|one| one.in_list));
    }
}
