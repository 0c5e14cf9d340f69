//! Which register, variable or label a name of a function means.

use crate::ast::{LabelId, Names, Reg, RegId, Symbol, VarId};
use std::collections::HashMap;

/// What a name is bound to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bound {
    Reg(RegId),
    Var(VarId),
    Label(LabelId),
}

#[derive(Clone, Copy)]
struct Binding {
    bound: Bound,
    /// Depth of the scope of the declaration.
    depth: u32,
    /// Number of that scope: a binding whose scope is closed says nothing.
    serial: u32,
    /// Made when one register of `name<count>` was first used.
    of_range: bool,
    /// `Scopes::version` when it was made or found to be right.
    version: u32,
}

const UNBOUND: Binding =
    Binding { bound: Bound::Var(VarId(0)), depth: u32::MAX, serial: 0, of_range: false, version: 0 };

#[derive(Default)]
struct Scope {
    serial: u32,
    /// Bindings of outer scopes that are hidden until this one closes.
    hidden: Vec<(Symbol, Binding)>,
    /// Length of `Scopes::ranges` when it was opened.
    ranges: usize,
}

/// Registers declared as `prefix<count>`.
struct Range {
    prefix: Symbol,
    var: VarId,
    count: u32,
    depth: u32,
    /// The declaration of the same prefix that this one hides.
    outer: Option<u32>,
}

/// The open scopes of a function, and what names mean in them.
#[derive(Default)]
pub(super) struct Scopes {
    /// By [`Symbol::index`].
    bindings: Vec<Binding>,
    open: Vec<Scope>,
    last_serial: u32,
    ranges: Vec<Range>,
    /// The innermost range of each prefix.
    prefixes: HashMap<Symbol, u32>,
    /// Changes whenever the ranges do: a binding of an older version may be hidden by a range of an inner scope.
    version: u32,
    /// Bit n: the function has ranges whose prefix has n bytes, 63 standing for all longer ones.
    lengths: u64,
}

impl Scopes {
    /// Number of open scopes.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// Forgets everything but the bindings' memory.
    pub(super) fn clear(&mut self) {
        self.open.clear();
        self.ranges.clear();
        self.lengths = 0;
        // Clearing a map takes time in proportion to its capacity.
        if self.prefixes.capacity() > 1024 {
            self.prefixes = HashMap::new();
        }
        self.prefixes.clear();
    }

    pub(super) fn open(&mut self) {
        self.last_serial += 1;
        self.open.push(Scope { serial: self.last_serial, hidden: Vec::new(), ranges: self.ranges.len() });
    }

    pub(super) fn close(&mut self) {
        let Some(scope) = self.open.pop() else { return };
        for (symbol, binding) in scope.hidden.into_iter().rev() {
            self.bindings[symbol.index()] = binding;
        }
        while self.ranges.len() > scope.ranges {
            let Some(range) = self.ranges.pop() else { break };
            self.version += 1;
            match range.outer {
                Some(outer) => self.prefixes.insert(range.prefix, outer),
                None => self.prefixes.remove(&range.prefix),
            };
        }
    }

    fn binding(&self, symbol: Symbol) -> Option<Binding> {
        let binding = *self.bindings.get(symbol.index())?;
        let scope = self.open.get(binding.depth as usize)?;
        (scope.serial == binding.serial).then_some(binding)
    }

    /// Binds a name in the scope of that depth.
    fn bind(&mut self, symbol: Symbol, bound: Bound, depth: u32, of_range: bool) {
        let hidden = self.binding(symbol);
        let Some(scope) = self.open.get_mut(depth as usize) else { return };
        let binding = Binding { bound, depth, serial: scope.serial, of_range, version: self.version };
        if self.bindings.len() <= symbol.index() {
            self.bindings.resize(symbol.index() + 1, UNBOUND);
        }
        self.bindings[symbol.index()] = binding;
        if let Some(hidden) = hidden {
            scope.hidden.push((symbol, hidden));
        }
    }

    /// Declares a name in the innermost scope. Where the scope has it already: what it is.
    pub(super) fn declare(&mut self, symbol: Symbol, bound: Bound, names: &Names<'_>) -> Result<(), Option<Bound>> {
        let depth = self.open.len().saturating_sub(1) as u32;
        if let Some(old) = self.binding(symbol)
            && old.depth == depth
        {
            return Err(Some(old.bound));
        }
        if let Some((range, _)) = self.find_range(names.get(symbol), names)
            && self.ranges[range].depth == depth
        {
            return Err(Some(Bound::Var(self.ranges[range].var)));
        }
        self.bind(symbol, bound, depth, false);
        Ok(())
    }

    /// Declares `prefix<count>`. Where the scope has that prefix already: its declaration.
    pub(super) fn declare_range(
        &mut self,
        prefix: Symbol,
        count: u32,
        var: VarId,
        names: &Names<'_>,
    ) -> Result<(), VarId> {
        let depth = self.open.len().saturating_sub(1) as u32;
        let outer = self.prefixes.get(&prefix).copied();
        if let Some(old) = outer.map(|r| &self.ranges[r as usize])
            && old.depth == depth
        {
            return Err(old.var);
        }
        self.version += 1;
        self.lengths |= 1 << names.get(prefix).len().min(63);
        self.prefixes.insert(prefix, self.ranges.len() as u32);
        self.ranges.push(Range { prefix, var, count, depth, outer });
        Ok(())
    }

    /// The innermost range that has a register of that name, and the register's number.
    fn find_range(&self, name: &str, names: &Names<'_>) -> Option<(usize, u32)> {
        /// Digits of the greatest register number.
        const DIGITS: usize = 10;
        let digits = name.bytes().rev().take(DIGITS).take_while(u8::is_ascii_digit).count();
        let mut best: Option<(usize, u32)> = None;
        for split in name.len() - digits..name.len() {
            if self.lengths >> split.min(63) & 1 == 0 {
                continue;
            }
            let Some(prefix) = names.find(&name[..split]) else { continue };
            let Ok(index) = name[split..].parse::<u32>() else { continue };
            let mut range = self.prefixes.get(&prefix).copied();
            while let Some(r) = range {
                let r = r as usize;
                if index < self.ranges[r].count {
                    if best.is_none_or(|(b, _)| self.ranges[b].depth < self.ranges[r].depth) {
                        best = Some((r, index));
                    }
                    break;
                }
                range = self.ranges[r].outer;
            }
        }
        best
    }

    /// What a name means here. A register of a range gets its id when it is first used.
    pub(super) fn lookup(&mut self, symbol: Symbol, names: &mut Names<'_>, regs: &mut Vec<Reg>) -> Option<Bound> {
        let binding = self.binding(symbol);
        // Ranges of inner scopes, which are rare, may hide what is bound.
        let hides = self.ranges.last().is_some_and(|r| r.depth > 0);
        match binding {
            Some(b) if !hides || b.version == self.version => Some(b.bound),
            _ => self.lookup_range(symbol, binding, names, regs),
        }
    }

    fn lookup_range(
        &mut self,
        symbol: Symbol,
        binding: Option<Binding>,
        names: &mut Names<'_>,
        regs: &mut Vec<Reg>,
    ) -> Option<Bound> {
        let found = self.find_range(names.get(symbol), names);
        if let Some(b) = binding {
            let is_right = found.is_none_or(|(range, _)| {
                let Range { var, depth, .. } = self.ranges[range];
                let is_same = matches!(b.bound, Bound::Reg(r) if regs[r.index()].var == var);
                b.depth > depth || b.depth == depth && !b.of_range || is_same
            });
            if is_right {
                self.bindings[symbol.index()].version = self.version;
                return Some(b.bound);
            }
        }
        let (range, index) = found?;
        let Range { var, depth, prefix, .. } = self.ranges[range];
        let digits = &names.get(symbol)[names.get(prefix).len()..];
        if digits.len() > 1 && digits.starts_with('0') {
            // `%r01` is `%r1`.
            let canonical = format!("{}{index}", names.get(prefix));
            let canonical = names.intern(&canonical);
            return self.lookup(canonical, names, regs);
        }
        let reg = RegId(regs.len() as u32);
        regs.push(Reg { var, index, name: symbol });
        self.bind(symbol, Bound::Reg(reg), depth, true);
        Some(Bound::Reg(reg))
    }

    /// The label of that name that the innermost scope declares.
    pub(super) fn label_here(&self, symbol: Symbol) -> Option<LabelId> {
        match self.binding(symbol)? {
            Binding { bound: Bound::Label(id), depth, .. } if depth as usize + 1 == self.open.len() => Some(id),
            _ => None,
        }
    }
}
