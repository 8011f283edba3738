//! The dashboard and the alert rules, held against the figures that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tikkun::measure::{Kind, Metric, list};

use super::promtool::promtool;

const RULES: &str = "config/alerts.yaml";
const TRIALS: &str = "tests/metrics/alerts.yaml";
/// Labels that Prometheus itself adds.
const ADDED: [&str; 3] = ["instance", "job", "le"];

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn rules() -> Vec<Value> {
    let rules: Value = serde_saphyr::from_str(&file(RULES)).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(&file("config/grafana-dashboard.json")).unwrap();
    dashboard["panels"].as_array().unwrap().clone()
}

/// Every expression that is shipped, with the place where it is.
fn expressions() -> Vec<(String, String)> {
    let rules = rules();
    let alerts = rules.iter().map(|rule| (text(&rule["alert"]), text(&rule["expr"])));
    let panels = panels();
    let targets = panels.iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets.into_iter().map(|target| (text(&panel["title"]), text(&target["expr"])))
    });
    alerts.chain(targets).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// What Grafana puts in before it asks.
fn filled_in(expression: &str) -> String {
    let filled = expression.replace("$__rate_interval", "5m");
    ["$instance", "$queue"].iter().fold(filled, |text, name| text.replace(name, ".*"))
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The metrics that an expression names, each with the labels that it selects by.
fn metrics_in(expression: &str) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    let mut rest = expression;
    while let Some(at) = rest.find(is_name) {
        rest = &rest[at..];
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        if word.starts_with("tikkun_") || word.starts_with("process_") {
            let braces = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let labels = braces.map_or(Vec::new(), |(inner, _)| selected(inner));
            rest = braces.map_or(after, |(_, behind)| behind);
            found.push((word.to_owned(), labels));
        }
    }
    found
}

/// The labels of a selector, whose values hold no comma here.
fn selected(inner: &str) -> Vec<String> {
    let name = |one: &str| one.trim().chars().take_while(|c| is_name(*c)).collect();
    inner.split(',').map(name).collect()
}

/// The metric behind a name in an expression.
fn named(name: &str) -> Option<&'static Metric> {
    list::all().find(|metric| {
        let parts = ["_bucket", "_sum", "_count"].map(|part| format!("{}{part}", metric.name));
        metric.name == name && metric.kind != Kind::Histogram
            || metric.kind == Kind::Histogram && parts.iter().any(|part| part == name)
    })
}

#[test]
fn dashboard_and_alerts_name_only_metrics_and_labels_that_there_are() {
    for (place, expression) in expressions() {
        let metrics = metrics_in(&expression);
        assert!(!metrics.is_empty() || expression.contains("up{"), "{place}: {expression} asks for nothing");
        for (name, labels) in metrics {
            let metric = named(&name).unwrap_or_else(|| panic!("{place}: there is no metric {name}"));
            for label in labels {
                let known = metric.labels.contains(&label.as_str()) || ADDED.contains(&label.as_str());
                assert!(known, "{place}: {name} has no label {label}");
            }
        }
    }
}

#[test]
fn every_metric_is_shown_by_a_panel_or_used_by_an_alert() {
    let named_there = expressions().into_iter().flat_map(|(_, expression)| metrics_in(&expression));
    let used: BTreeSet<_> = named_there.filter_map(|(name, _)| named(&name)).map(|one| one.name).collect();
    let unused: Vec<_> = list::all().map(|metric| metric.name).filter(|name| !used.contains(name)).collect();
    assert!(
        unused.is_empty(),
        "nobody sees {unused:?}: add a panel to config/grafana-dashboard.json, or an alert to {RULES} with its trial in \
         {TRIALS}"
    );
}

#[test]
fn names_are_found_in_expressions() {
    let found = metrics_in(
        "sum by (queue) (rate(tikkun_a_total{queue=~\"x|y\", state=\"z\"}[5m])) / process_b > tikkun_c",
    );
    let labels = vec!["queue".to_owned(), "state".to_owned()];
    let bare = |name: &str| (name.to_owned(), Vec::new());
    assert_eq!(found, [("tikkun_a_total".to_owned(), labels), bare("process_b"), bare("tikkun_c")]);
}

#[test]
fn every_expression_of_the_dashboard_is_promql() {
    let panels = panels();
    let expressions =
        panels.iter().flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let rules: Vec<_> = expressions
        .enumerate()
        .map(|(number, target)| {
            let expression = serde_json::to_string(&filled_in(&text(&target["expr"]))).unwrap();
            format!("      - {{record: 'dashboard:{number}', expr: {expression}}}")
        })
        .collect();
    assert!(rules.len() > 50, "{}", rules.len());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dashboard.yaml");
    fs::write(&path, format!("groups:\n  - name: dashboard\n    rules:\n{}\n", rules.join("\n"))).unwrap();
    promtool(&["check", "rules", path.to_str().unwrap()], "");
}

#[test]
fn dashboard_can_be_imported_and_every_panel_has_its_own_place() {
    let dashboard: Value = serde_json::from_str(&file("config/grafana-dashboard.json")).unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let source = variables.iter().find(|variable| variable["type"] == "datasource").unwrap();
    assert_eq!((&source["name"], &source["query"]), (&"datasource".into(), &"prometheus".into()));
    let rows: Vec<_> =
        panels().iter().filter(|panel| panel["type"] == "row").map(|row| text(&row["title"])).collect();
    assert_eq!(rows, ["Jobs", "Queues", "Supervision", "Deletions and outbox", "Back ends", "Python"]);
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeMap::new());
    for panel in panels() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{panel}");
        for cell in (0..place("w") * place("h"))
            .map(|at| (place("x") + at % place("w"), place("y") + at / place("w")))
        {
            let other = cells.insert(cell, text(&panel["title"]));
            assert_eq!(other, None, "{} lies on it", panel["title"]);
        }
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{panel}");
        }
    }
}

#[test]
fn alert_rules_are_understood_and_fire_when_they_should() {
    promtool(&["check", "rules", RULES], "");
    promtool(&["test", "rules", TRIALS], "");
    let trials = file(TRIALS);
    for rule in rules() {
        let alert = text(&rule["alert"]);
        assert!(trials.contains(&format!("alertname=\"{alert}\"")), "{alert} is never seen firing");
    }
}

#[test]
fn every_alert_says_what_to_do_in_commands_that_exist() {
    for rule in rules() {
        let (alert, annotations) = (text(&rule["alert"]), &rule["annotations"]);
        for part in ["summary", "action"] {
            assert!(annotations[part].as_str().is_some_and(|text| text.len() > 20), "{alert} has no {part}");
        }
        let severity = text(&rule["labels"]["severity"]);
        assert!(["critical", "warning"].contains(&severity.as_str()), "{alert}: {severity}");
        let action = text(&annotations["action"]);
        for command in action.split("`tikkun ").skip(1).filter_map(|rest| rest.split('`').next()) {
            let words =
                command.split_whitespace().take_while(|word| word.chars().all(|c| c.is_ascii_lowercase()));
            let tikkun =
                Command::new(env!("CARGO_BIN_EXE_tikkun")).args(words).arg("--help").output().unwrap();
            assert!(tikkun.status.success(), "{alert}: there is no `tikkun {command}`");
        }
    }
}
