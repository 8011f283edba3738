//! No file imports another that imports it back, directly or indirectly.
//!
//! Paths with `crate::`, `super::` or `self::` are followed through re-exports in `mod.rs` to the file that
//! declares the item. Tests are not checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use syn::visit::Visit;
use syn::{Attribute, Item, ItemUse, UseTree, Visibility};

use super::{root, sources};

/// The names that lead to a module or to what it declares: `["queue", "rq", "wire"]`.
type Names = Vec<String>;

/// What one file says of others.
#[derive(Default)]
struct Room {
    /// What it uses.
    uses: Vec<Names>,
    /// What it hands on, by the name under which it does; `*` for all of a module.
    hands_on: Vec<(String, Names)>,
}

/// Every file by the module that it is.
struct House(BTreeMap<Names, Room>);

impl House {
    fn read() -> Self {
        let rooms = sources(&root()).into_iter().filter_map(|path| {
            let module = module_of(&path);
            let named = module.last().map(String::as_str);
            if matches!(named, Some("lib" | "main")) || module.iter().any(|name| name == "tests") {
                return None;
            }
            let file = syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap();
            let mut reader = Reader { module: module.clone(), room: Room::default() };
            reader.visit_file(&file);
            Some((module, reader.room))
        });
        Self(rooms.collect())
    }

    /// The modules that declare what `names` leads to.
    fn declaring(&self, names: &[String]) -> BTreeSet<Names> {
        self.follow(names, 8)
    }

    fn follow(&self, names: &[String], turns: usize) -> BTreeSet<Names> {
        let depth = (0..=names.len()).rev().find(|depth| self.0.contains_key(&names[..*depth]));
        let Some(depth) = depth.filter(|_| turns > 0) else { return BTreeSet::new() };
        let (module, rest) = names.split_at(depth);
        let Some((name, rest)) = rest.split_first() else { return BTreeSet::from([module.to_vec()]) };
        let handed = self.0[module].hands_on.iter().filter(|(as_name, _)| as_name == name);
        let mut found: BTreeSet<_> =
            handed.flat_map(|(_, to)| self.follow(&[to.as_slice(), rest].concat(), turns - 1)).collect();
        if found.is_empty() {
            found.insert(module.to_vec());
        }
        found
    }

    /// Who uses whom.
    fn arrows(&self) -> BTreeMap<&Names, BTreeSet<Names>> {
        let arrows = self.0.iter().map(|(from, room)| {
            let to = room.uses.iter().flat_map(|names| self.declaring(names));
            (from, to.filter(|to| to != from).collect())
        });
        arrows.collect()
    }
}

/// The module that a file is.
fn module_of(path: &Path) -> Names {
    let inside = path.strip_prefix(root()).unwrap().with_extension("");
    let names = inside.iter().map(|name| name.to_str().unwrap().to_owned());
    names.filter(|name| name != "mod").collect()
}

/// Reads one file.
struct Reader {
    module: Names,
    room: Room,
}

impl Reader {
    /// From the crate on; none where a path leaves the crate or begins with a name in scope.
    fn absolute(&self, path: &[String], file_is_a_folder: bool) -> Option<Names> {
        let (first, mut rest) = path.split_first()?;
        let mut from = match first.as_str() {
            "crate" => Vec::new(),
            "self" => self.module.clone(),
            "super" => self.module[..self.module.len() - 1].to_vec(),
            _ if file_is_a_folder => {
                rest = path;
                self.module.clone()
            }
            _ => return None,
        };
        while let Some((_, further)) = rest.split_first().filter(|(name, _)| *name == "super") {
            from.pop();
            rest = further;
        }
        from.extend_from_slice(rest);
        Some(from)
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        let of_tests = match item {
            Item::Mod(module) => is_for_tests(&module.attrs),
            Item::Fn(function) => is_for_tests(&function.attrs),
            Item::Impl(block) => is_for_tests(&block.attrs),
            Item::Use(import) => is_for_tests(&import.attrs),
            _ => false,
        };
        if !of_tests {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, import: &'ast ItemUse) {
        let mut leaves = Vec::new();
        gather(&import.tree, &mut Vec::new(), &mut leaves);
        for (name, path) in leaves {
            if matches!(import.vis, Visibility::Inherited) {
                self.room.uses.extend(self.absolute(&path, false));
            } else if let Some(path) = self.absolute(&path, true) {
                self.room.hands_on.push((name, path));
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if names.len() > 1 {
            self.room.uses.extend(self.absolute(&names, false));
        }
        syn::visit::visit_path(self, path);
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|one| {
        one.path().is_ident("cfg")
            && one.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test")
    })
}

/// Each name that a `use` brings in, with the path that it stands for.
fn gather(tree: &UseTree, path: &mut Names, found: &mut Vec<(String, Names)>) {
    match tree {
        UseTree::Path(inner) => {
            path.push(inner.ident.to_string());
            gather(&inner.tree, path, found);
            path.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| gather(tree, path, found)),
        UseTree::Glob(_) => found.push(("*".to_owned(), path.clone())),
        UseTree::Name(leaf) if leaf.ident == "self" => {
            found.push((path[path.len() - 1].clone(), path.clone()))
        }
        UseTree::Name(leaf) => {
            let name = leaf.ident.to_string();
            found.push((name.clone(), [path.as_slice(), &[name]].concat()));
        }
        UseTree::Rename(leaf) => {
            let named = [path.as_slice(), &[leaf.ident.to_string()]].concat();
            found.push((leaf.rename.to_string(), named));
        }
    }
}

/// Every module that can be reached from one.
fn reached<'a>(arrows: &'a BTreeMap<&Names, BTreeSet<Names>>, from: &Names) -> BTreeSet<&'a Names> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(next) = open.pop() {
        for to in arrows.get(next).into_iter().flatten() {
            if reached.insert(to) {
                open.push(to);
            }
        }
    }
    reached
}

#[test]
fn no_file_imports_one_that_imports_it_back() {
    let house = House::read();
    let arrows = house.arrows();
    assert!(arrows.values().map(BTreeSet::len).sum::<usize>() > 1_000, "hardly any import was read");
    let reach: BTreeMap<_, _> = arrows.keys().map(|from| (*from, reached(&arrows, from))).collect();
    let mut wrong = Vec::new();
    for (from, to) in &arrows {
        for to in to.iter().filter(|to| reach[to].contains(from)) {
            wrong.push(format!("{} -> {}", from.join("::"), to.join("::")));
        }
    }
    assert!(wrong.is_empty(), "these imports go round in circles:\n{}", wrong.join("\n"));
}
