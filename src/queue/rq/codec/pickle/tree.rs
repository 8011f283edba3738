//! Converts nodes to values: repeated references become copies, and every copy is counted.

use num_bigint::BigInt;

use super::classes::foreign;
use super::node::{Id, Node};
use crate::job::exact::{Exact, Offset};
use crate::queue::rq::codec::limits::{Budget, Weight};
use crate::queue::rq::codec::refusal::{Place, Refusal, shown};

/// The longest integer in bytes; it has at most the 4300 digits that Python converts to text.
const MOST_INT_BYTES: usize = 1785;

/// Goes down from the root; the depth limit bounds the recursion.
pub struct Tree<'n, 'a> {
    nodes: &'n [Node<'a>],
    /// Whether a node is on the path from the root to the current node.
    open: Vec<bool>,
    budget: Budget,
}

impl<'n, 'a> Tree<'n, 'a> {
    pub fn new(nodes: &'n [Node<'a>], budget: Budget) -> Self {
        Self { nodes, open: vec![false; nodes.len()], budget }
    }

    /// The value of a node.
    pub fn unfold(mut self, root: Id) -> Result<Exact, Refusal> {
        let depth = self.budget.depth();
        self.value(root, depth)
    }

    fn value(&mut self, id: Id, depth: usize) -> Result<Exact, Refusal> {
        let node = self.nodes.get(id as usize).ok_or_else(|| Refusal::new("a value is missing"))?;
        let below = self.budget.below(depth)?;
        match node {
            Node::List(items) => self.inside(id, |tree| tree.items(items, below)).map(Exact::List),
            Node::Tuple(items) => self.tagged(id, items, below).map(Exact::Tuple),
            Node::Set(items) => self.tagged(id, items, below).and_then(hashable).map(Exact::Set),
            Node::FrozenSet(items) => self.tagged(id, items, below).and_then(hashable).map(Exact::FrozenSet),
            Node::Dict(pairs) => self.inside(id, |tree| tree.pairs(pairs, below)).map(Exact::Dict),
            leaf => self.leaf(leaf),
        }
    }

    fn leaf(&mut self, node: &Node<'a>) -> Result<Exact, Refusal> {
        let (weight, text) = match node {
            Node::Str(text) => (Weight::Plain, text.len()),
            Node::Long(bytes) if bytes.len() > MOST_INT_BYTES => {
                return Err(Refusal::new(format!(
                    "it holds an int of {} bytes; the limit is {MOST_INT_BYTES}",
                    bytes.len()
                )));
            }
            // Counted once as it is, and once as base64 or digits.
            Node::Long(bytes) => (Weight::Tagged, bytes.len().saturating_mul(4)),
            Node::Bytes(bytes) | Node::ByteArray(bytes) => (Weight::Tagged, bytes.len().saturating_mul(3)),
            Node::Ready(Exact::Decimal(digits)) => (Weight::Tagged, digits.len()),
            // The name is stored in the value and in its tag.
            Node::Ready(_) => (Weight::Tagged, name_of_zone(node) * 2),
            Node::Float(float) if !float.is_finite() => (Weight::Tagged, 0),
            _ => (Weight::Plain, 0),
        };
        self.budget.value(weight, text)?;
        Ok(match node {
            Node::None => Exact::None,
            Node::Bool(bool) => Exact::Bool(*bool),
            Node::Int(int) => Exact::Int(*int),
            Node::Long(bytes) => Exact::int(BigInt::from_signed_bytes_le(bytes)),
            Node::Float(float) => Exact::Float(*float),
            Node::Str(text) => Exact::Str((*text).to_owned()),
            Node::Bytes(bytes) => Exact::Bytes(bytes.to_vec()),
            Node::ByteArray(bytes) => Exact::ByteArray(bytes.to_vec()),
            Node::Ready(value) => value.clone(),
            Node::Class(class) => return Err(class.as_value()),
            Node::Foreign(module, name) => return Err(foreign(module, name)),
            Node::Elsewhere(zone) => {
                let zone = zone.shown();
                return Err(Refusal::new(format!(
                    "it holds a datetime in {zone}, a time zone that is not known here"
                )));
            }
            Node::Zone(zone) => {
                let zone = zone.shown();
                return Err(Refusal::new(format!(
                    "it holds {zone} by itself: a time zone is read beside a datetime only"
                )));
            }
            other => {
                return Err(Refusal::new(format!("it holds {} as a value", other.noun())));
            }
        })
    }

    fn tagged(&mut self, id: Id, items: &[Id], depth: usize) -> Result<Vec<Exact>, Refusal> {
        self.inside(id, |tree| {
            tree.budget.value(Weight::Tagged, 0)?;
            tree.items(items, depth)
        })
    }

    fn items(&mut self, items: &[Id], depth: usize) -> Result<Vec<Exact>, Refusal> {
        self.budget.value(Weight::Plain, 0)?;
        let item = |(place, item): (usize, &Id)| {
            self.value(*item, depth).map_err(|refusal| refusal.at(Place::Item(place)))
        };
        items.iter().enumerate().map(item).collect()
    }

    fn pairs(&mut self, pairs: &[(Id, Id)], depth: usize) -> Result<Vec<(Exact, Exact)>, Refusal> {
        self.budget.value(Weight::Tagged, 0)?;
        let mut unfolded = Vec::new();
        for (key, value) in pairs {
            self.budget.value(Weight::Entry, 0)?;
            let key = self.value(*key, depth)?;
            if !key.is_hashable() {
                return Err(Refusal::new("a dict has a key that Python would not take"));
            }
            let value = self.value(*value, depth).map_err(|refusal| match &key {
                Exact::Str(name) => refusal.at(Place::Key(shown(name))),
                _ => refusal.at(Place::Other),
            })?;
            unfolded.push((key, value));
        }
        Ok(unfolded)
    }

    /// Marks a node as open while its contents are converted; if it is met again, it contains itself.
    fn inside<T>(
        &mut self,
        id: Id,
        unfold: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let open = self.open.get_mut(id as usize).ok_or_else(|| Refusal::new("a value is missing"))?;
        if std::mem::replace(open, true) {
            return Err(Refusal::new("it holds a value that contains itself"));
        }
        let unfolded = unfold(self)?;
        if let Some(open) = self.open.get_mut(id as usize) {
            *open = false;
        }
        Ok(unfolded)
    }
}

fn name_of_zone(node: &Node<'_>) -> usize {
    let offset = match node {
        Node::Ready(Exact::DateTime(at)) => at.offset.as_ref(),
        Node::Ready(Exact::Time(at)) => at.offset.as_ref(),
        Node::Ready(Exact::TimeZone(offset)) => Some(offset),
        _ => None,
    };
    offset.map_or(0, Offset::text)
}

fn hashable(items: Vec<Exact>) -> Result<Vec<Exact>, Refusal> {
    if items.iter().all(Exact::is_hashable) {
        Ok(items)
    } else {
        Err(Refusal::new("a set has an item that Python would not take"))
    }
}
