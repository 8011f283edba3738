//! The documents for users: short enough, linked, without broken links, and with snippets that compile.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tikkun::config::{Settings, Sources};

/// The most lines of README.
const README_LINES: usize = 150;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().unwrap()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages that lie in a folder themselves.
fn pages_in(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> = entries.filter(|path| path.extension() == Some("md".as_ref())).collect();
    pages.sort();
    pages
}

/// Every page of the project.
fn pages() -> Vec<PathBuf> {
    let pages =
        ["", "docs", "config", "examples/python_app"].into_iter().flat_map(pages_in).collect::<Vec<_>>();
    for needed in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "TORTURE.md"] {
        assert!(pages.contains(&root().join(needed)), "{needed} is gone");
    }
    pages
}

/// The lines that are no code.
fn prose(page: &str) -> Vec<&str> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            lines.push(line);
        }
    }
    lines
}

/// Where the links and pictures of a page lead.
fn links(page: &str) -> Vec<String> {
    let all = prose(page).join("\n");
    let targets = all.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.map(str::to_owned).collect()
}

/// What a heading is called in a link, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The anchors of a page; of headings that are called the same the later ones have a number.
fn anchors(page: &str) -> Vec<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let headings = prose(page).into_iter().filter(|line| line.starts_with('#'));
    let anchors = headings.map(|line| anchor(line.trim_start_matches('#'))).map(|anchor| {
        let times = seen.entry(anchor.clone()).or_default();
        *times += 1;
        if *times == 1 { anchor } else { format!("{anchor}-{}", *times - 1) }
    });
    anchors.collect()
}

/// What is wrong with a link of a page; none when it leads somewhere.
fn dead(page: &Path, content: &str, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, wanted) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let target = if path.is_empty() { page.to_owned() } else { page.parent().unwrap().join(path) };
    let Ok(target) = target.canonicalize() else { return Some(format!("{link}: there is no such file")) };
    if !target.starts_with(root()) {
        return Some(format!("{link} leads out of the repository"));
    }
    let wanted = wanted?;
    let there = if path.is_empty() { anchors(content) } else { anchors(&text(&target)) };
    (!there.iter().any(|anchor| anchor == wanted)).then(|| format!("{link}: there is no such heading"))
}

#[test]
fn no_link_between_pages_leads_nowhere() {
    let (mut found, mut wrong) = (0, Vec::new());
    for page in pages() {
        let content = text(&page);
        for link in links(&content) {
            found += 1;
            let name = page.strip_prefix(root()).unwrap().display();
            wrong.extend(dead(&page, &content, &link).map(|what| format!("{name}: {what}")));
        }
    }
    assert!(found > 50, "{found} links");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn dead_links_are_found() {
    let page = root().join("README.md");
    let content = "# One\n\n## Two words, `code`\n\n## One\n\n```text\n# no heading\n```\n";
    assert_eq!(anchors(content), ["one", "two-words-code", "one-1"]);
    for good in ["#one-1", "#two-words-code", "docs", "CHANGELOG.md#unreleased", "https://example.com/#x"] {
        assert_eq!(dead(&page, content, good), None);
    }
    for bad in ["#no-heading", "docs/no-page.md", "CHANGELOG.md#nothing", "../"] {
        assert!(dead(&page, content, bad).is_some(), "{bad}");
    }
    assert_eq!(links("a [b](c.md) ![](d.png)\n```\n[e](f)\n```\n"), ["c.md", "d.png"]);
}

#[test]
fn comments_of_the_configuration_are_no_wider_than_the_code() {
    let rustfmt: toml::Table = text(&root().join("rustfmt.toml")).parse().unwrap();
    let width = usize::try_from(rustfmt["max_width"].as_integer().unwrap()).unwrap();
    let mut wrong = Vec::new();
    for path in fs::read_dir(root().join("config")).unwrap().map(|entry| entry.unwrap().path()) {
        if path.extension() == Some("toml".as_ref()) {
            for (number, line) in text(&path).lines().enumerate() {
                if line.starts_with('#') && line.chars().count() > width {
                    wrong.push(format!("{}:{}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "comments of more than {width} characters:\n{}", wrong.join("\n"));
}

#[test]
fn readme_is_short() {
    let lines = text(&root().join("README.md")).lines().count();
    assert!(lines <= README_LINES, "README.md has {lines} lines; move what is more to docs/");
}

#[test]
fn every_page_of_the_manual_is_linked_from_readme_and_says_what_it_answers() {
    let links = links(&text(&root().join("README.md")));
    for page in pages_in("docs").into_iter().chain([root().join("CONTRIBUTING.md")]) {
        let name = page.strip_prefix(root()).unwrap().to_str().unwrap();
        assert!(links.iter().any(|link| link == name), "README.md does not link {name}");
        let opening = text(&page);
        let opening: Vec<_> = opening.lines().take(3).collect();
        assert!(opening[0].starts_with("# ") && opening[1].is_empty(), "{name} has no title");
        let is_question = opening[2].starts_with("This page answers: ") && opening[2].ends_with('?');
        assert!(is_question, "{name} does not say which question it answers");
    }
}

#[test]
fn every_snippet_of_rust_in_the_manual_is_compiled() {
    let library = text(&root().join("src/lib.rs"));
    for page in pages() {
        let name = page.strip_prefix(root()).unwrap().to_str().unwrap();
        if text(&page).contains("```rust") {
            let included = library.contains(&format!("include_str!(\"../{name}\")"));
            assert!(included, "src/lib.rs does not include {name}, so its snippets are not compiled");
        }
    }
}

/// The blocks of code of a page in one language, as they are without their indentation.
fn snippets(page: &str, language: &str) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), None);
    for line in page.lines() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(opened)) => open = Some((opened == language, Vec::new())),
            (Some((is_meant, lines)), Some(_)) => {
                found.extend(is_meant.then(|| lines.join("\n")));
                open = None;
            }
            (Some((_, lines)), None) => lines.push(line.trim()),
            (None, None) => {}
        }
    }
    found
}

#[test]
fn every_snippet_of_a_configuration_file_is_understood() {
    let mut seen = 0;
    for page in pages() {
        for snippet in snippets(&text(&page), "toml") {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("tikkun.toml");
            fs::write(&file, &snippet).unwrap();
            if let Err(error) = Settings::load(&Sources { file: Some(file), ..Sources::none() }) {
                panic!("{}: {error}\n{snippet}", page.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 1, "{seen} snippets");
}
