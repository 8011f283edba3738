//! The machine: executes a pickle's instructions on numbered nodes.
//!
//! Every step reads at least one byte and counts the memory that it keeps, so time and memory are bounded by
//! the payload and the limits.

use std::collections::HashMap;

use super::atom;
use super::classes::Class;
use super::input::Input;
use super::node::{Id, Node};
use super::opcode as op;
use super::reduce;
use super::tree::Tree;
use super::zones;
use crate::job::exact::{Exact, Zone};
use crate::queue::rq::codec::limits::{Budget, Limits};
use crate::queue::rq::codec::refusal::Refusal;

/// A pickle that could not be read completely.
#[derive(Debug)]
pub struct Stopped {
    /// The reason.
    pub refusal: Refusal,
    /// The first text in the pickle; in a call it is the function's name.
    pub first_text: Option<String>,
}

/// The newest protocol.
const NEWEST: u8 = 5;

/// Reads a pickle.
pub fn read(payload: &[u8], limits: &Limits) -> Result<Exact, Stopped> {
    let mut machine = Machine::new(payload, limits);
    let ran = machine.run();
    let first_text = machine.nodes.iter().find_map(|node| match node {
        Node::Str(text) => Some((*text).to_owned()),
        _ => None,
    });
    let Machine { nodes, budget, .. } = machine;
    ran.and_then(|root| Tree::new(&nodes, budget).unfold(root))
        .map_err(|refusal| Stopped { refusal, first_text })
}

struct Machine<'a> {
    input: Input<'a>,
    nodes: Vec<Node<'a>>,
    stack: Vec<Id>,
    /// The stack heights at which marks were set.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    budget: Budget,
}

impl<'a> Machine<'a> {
    fn new(payload: &'a [u8], limits: &Limits) -> Self {
        Self {
            input: Input::new(payload),
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            budget: Budget::new(limits),
        }
    }

    fn run(&mut self) -> Result<Id, Refusal> {
        if self.input.byte().ok() != Some(op::PROTO) {
            return Err(Refusal::new("it is no pickle of protocol 2 or later"));
        }
        self.protocol()?;
        loop {
            let at = self.input.position();
            match self.input.byte()? {
                op::STOP => return self.result(),
                op => self.step(op).map_err(|refusal| Refusal::new(format!("{refusal} (byte {at})")))?,
            }
        }
    }

    fn protocol(&mut self) -> Result<(), Refusal> {
        match self.input.byte()? {
            2..=NEWEST => Ok(()),
            other => Err(Refusal::new(format!("it is a pickle of protocol {other}; 2 to {NEWEST} are read"))),
        }
    }

    fn result(&mut self) -> Result<Id, Refusal> {
        match (self.stack.as_slice(), self.marks.is_empty()) {
            ([root], true) => Ok(*root),
            _ => Err(Refusal::new("it ends with more or less than one value")),
        }
    }

    fn step(&mut self, op: u8) -> Result<(), Refusal> {
        if let Some(atom) = atom::read(op, &mut self.input)? {
            return self.push(atom);
        }
        match op {
            op::PROTO => self.protocol(),
            op::FRAME => {
                let length = self.input.u64()?;
                self.input.announce(length)
            }
            op::MARK => {
                self.budget.count()?;
                self.marks.push(self.stack.len());
                Ok(())
            }
            op::MEMOIZE | op::BINPUT | op::LONG_BINPUT => self.memoize(op),
            op::BINGET | op::LONG_BINGET => self.recall(op),
            op::TUPLE | op::TUPLE1 | op::TUPLE2 | op::TUPLE3 | op::FROZENSET => self.collect(op),
            op::APPEND | op::APPENDS | op::SETITEM | op::SETITEMS | op::ADDITEMS => self.fill(op),
            op::GLOBAL | op::STACK_GLOBAL => self.class(op),
            op::REDUCE | op::NEWOBJ | op::NEWOBJ_EX => self.make(op),
            op::BUILD => self.state(),
            other => Err(Refusal::new(op::refused(other))),
        }
    }

    fn memoize(&mut self, op: u8) -> Result<(), Refusal> {
        let place = match op {
            op::BINPUT => self.input.byte()?.into(),
            op::LONG_BINPUT => self.input.u32()?,
            _ => u32::try_from(self.memo.len()).unwrap_or(u32::MAX),
        };
        let top = self.top()?;
        if self.memo.insert(place, top).is_none() {
            self.budget.count()?;
        }
        Ok(())
    }

    fn recall(&mut self, op: u8) -> Result<(), Refusal> {
        let place = if op == op::BINGET { self.input.byte()?.into() } else { self.input.u32()? };
        let id = self.memo.get(&place).copied();
        let id = id.ok_or_else(|| Refusal::new(format!("it refers to value {place} before it came")))?;
        self.lay(id)
    }

    fn collect(&mut self, op: u8) -> Result<(), Refusal> {
        let items = match op {
            op::TUPLE1 => vec![self.pop()?],
            op::TUPLE2 => self.last(2)?,
            op::TUPLE3 => self.last(3)?,
            _ => self.marked()?,
        };
        if op == op::FROZENSET { self.push(Node::FrozenSet(items)) } else { self.push(Node::Tuple(items)) }
    }

    fn fill(&mut self, op: u8) -> Result<(), Refusal> {
        let items = match op {
            op::APPEND => vec![self.pop()?],
            op::SETITEM => self.last(2)?,
            _ => self.marked()?,
        };
        let target = self.top()?;
        match (op, self.node_mut(target)?) {
            (op::APPEND | op::APPENDS, Node::List(list)) => list.extend(items),
            (op::ADDITEMS, Node::Set(set)) => set.extend(items),
            (op::SETITEM | op::SETITEMS, Node::Dict(dict)) => {
                let pairs = items.as_chunks::<2>();
                if !pairs.1.is_empty() {
                    return Err(Refusal::new("a dict has a key without a value"));
                }
                dict.extend(pairs.0.iter().map(|[key, value]| (*key, *value)));
            }
            (_, Node::Foreign(..)) => {}
            (_, other) => return Err(Refusal::new(format!("{} cannot be added to", other.noun()))),
        }
        Ok(())
    }

    fn class(&mut self, op: u8) -> Result<(), Refusal> {
        let (module, name) = if op == op::GLOBAL {
            (self.input.line()?, self.input.line()?)
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            match (self.node(module)?, self.node(name)?) {
                (Node::Str(module), Node::Str(name)) => (*module, *name),
                _ => return Err(Refusal::new("a class has a name that is no text")),
            }
        };
        self.push(Class::find(module, name).map_or(Node::Foreign(module, name), Node::Class))
    }

    fn make(&mut self, op: u8) -> Result<(), Refusal> {
        if op == op::NEWOBJ_EX {
            // The named arguments; only unknown classes take any.
            self.pop()?;
        }
        let (args, class) = (self.pop()?, self.pop()?);
        let class = match self.node(class)? {
            Node::Class(class) => *class,
            Node::Foreign(module, name) => {
                let foreign = self.of_another(args).unwrap_or(Node::Foreign(module, name));
                return self.push(foreign);
            }
            _ => return Err(Refusal::new("something that is no class is called")),
        };
        let Self { nodes, budget, .. } = self;
        let Some(Node::Tuple(args)) = nodes.get(args as usize) else {
            return Err(Refusal::new(format!("`{}` is called without a tuple of arguments", class.name())));
        };
        let made = match (op, class, args.as_slice()) {
            (op::NEWOBJ, Class::Uuid, []) => Node::BlankUuid,
            (op::NEWOBJ, Class::DateutilOffset, []) => Node::BlankZone,
            (op::NEWOBJ, Class::DateutilUtc, []) => Node::Zone(Zone::DateutilUtc),
            (op::NEWOBJ | op::NEWOBJ_EX, ..) => {
                return Err(Refusal::new(format!("`{}` is made in a way that is not known", class.name())));
            }
            (_, class, args) => reduce::call(class, args, nodes, budget)?,
        };
        self.push(made)
    }

    fn state(&mut self) -> Result<(), Refusal> {
        let state = self.pop()?;
        let target = self.top()?;
        let finished = match (self.node(target)?, self.node(state)?) {
            (Node::BlankUuid, state) => reduce::uuid(state, &self.nodes)
                .map(|uuid| Node::Ready(Exact::Uuid(uuid)))
                .ok_or_else(|| Refusal::new("a `uuid.UUID` has no number of 128 bits"))?,
            (Node::BlankZone, state) => zones::stated(state, &self.nodes)
                .map(Node::Zone)
                .ok_or_else(|| Refusal::new("a `dateutil.tz.tzoffset` has no name and offset"))?,
            // The content of a time zone file is ignored; the file is read where it is used.
            (Node::Foreign(..) | Node::Zone(Zone::DateutilFile(_)), _) => return Ok(()),
            (other, _) => return Err(Refusal::new(format!("{} is given attributes", other.noun()))),
        };
        *self.node_mut(target)? = finished;
        Ok(())
    }

    /// The unknown class that a function of Python was given to make an object of.
    fn of_another(&self, args: Id) -> Option<Node<'a>> {
        let Node::Tuple(args) = self.node(args).ok()? else { return None };
        let first = self.node(*args.first()?).ok()?;
        matches!(first, Node::Foreign(..)).then(|| first.clone())
    }

    fn push(&mut self, node: Node<'a>) -> Result<(), Refusal> {
        self.budget.take(size_of::<Node<'_>>())?;
        let id = Id::try_from(self.nodes.len()).map_err(Refusal::new)?;
        self.nodes.push(node);
        self.lay(id)
    }

    fn lay(&mut self, id: Id) -> Result<(), Refusal> {
        self.budget.count()?;
        self.stack.push(id);
        Ok(())
    }

    fn top(&self) -> Result<Id, Refusal> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.get(floor..).and_then(<[Id]>::last).copied().ok_or_else(underflow)
    }

    fn pop(&mut self) -> Result<Id, Refusal> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn last(&mut self, count: usize) -> Result<Vec<Id>, Refusal> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let from = self.stack.len().checked_sub(count).filter(|from| *from >= floor).ok_or_else(underflow)?;
        Ok(self.stack.split_off(from))
    }

    fn marked(&mut self) -> Result<Vec<Id>, Refusal> {
        let from = self.marks.pop().ok_or_else(|| Refusal::new("it ends a group that it did not begin"))?;
        Ok(self.stack.split_off(from))
    }

    fn node(&self, id: Id) -> Result<&Node<'a>, Refusal> {
        self.nodes.get(id as usize).ok_or_else(underflow)
    }

    fn node_mut(&mut self, id: Id) -> Result<&mut Node<'a>, Refusal> {
        self.nodes.get_mut(id as usize).ok_or_else(underflow)
    }
}

fn underflow() -> Refusal {
    Refusal::new("it takes a value where there is none")
}
