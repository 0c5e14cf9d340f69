//! Gives registers that are copied to each other one name, where none is written while the other is still needed, but by a copy
//! of it: then both are the same as long as neither is written again.

use super::text::{Code, Flow, Instruction, Line, Reg};
use std::collections::HashMap;

/// Most words of sets of registers that are kept at once; beyond them copies stay.
const MOST_WORDS: usize = 1 << 24;

/// Stretches of lines in which a register is needed, in order: from one place to before another. A line reads at its place
/// times two, and writes behind that.
type Stretches = Vec<(u32, u32)>;

struct Block {
    lines: std::ops::Range<usize>,
    successors: Vec<usize>,
}

/// Sets of candidates, one a block.
struct Sets {
    words: usize,
    bits: Vec<u64>,
}

impl Sets {
    fn new(blocks: usize, candidates: usize) -> Self {
        let words = candidates.div_ceil(64);
        Self { words, bits: vec![0; words * blocks] }
    }
    fn of(&self, block: usize) -> &[u64] {
        &self.bits[block * self.words..(block + 1) * self.words]
    }
    fn of_mut(&mut self, block: usize) -> &mut [u64] {
        &mut self.bits[block * self.words..(block + 1) * self.words]
    }
}

fn has(set: &[u64], n: usize) -> bool {
    set[n / 64] >> (n % 64) & 1 == 1
}
fn add(set: &mut [u64], n: usize) {
    set[n / 64] |= 1 << (n % 64);
}

/// Renames registers, and leaves out the copies that became superfluous.
pub(super) fn run(code: &mut Code) {
    let (count, index) = code.numbers();
    let copies: Vec<(Reg, Reg)> = code.lines.iter().filter_map(inst).filter_map(Instruction::copy).collect();
    if copies.is_empty() {
        return;
    }
    let mut number: Vec<Option<u32>> = vec![None; count];
    let mut candidates: Vec<Reg> = Vec::new();
    for reg in copies.iter().flat_map(|(to, from)| [*to, *from]) {
        number[index(reg)].get_or_insert_with(|| {
            candidates.push(reg);
            candidates.len() as u32 - 1
        });
    }
    let blocks = blocks(&code.lines);
    if blocks.len().saturating_mul(candidates.len().div_ceil(64)) > MOST_WORDS {
        return;
    }
    let candidate = |reg: Reg| number[index(reg)].map(|n| n as usize);
    let live = live_out(&code.lines, &blocks, candidates.len(), &candidate);
    let stretches = stretches(&code.lines, &blocks, &live, candidates.len(), &candidate);
    let writes = writes(&code.lines, candidates.len(), &candidate);
    let mut groups = Groups { parent: (0..candidates.len()).collect(), stretches, writes };
    // What a block begins with: its parameters and what edges write for them.
    let begins = |block: &Block| {
        let lines = &code.lines[block.lines.clone()];
        lines.iter().skip_while(|l| matches!(l, Line::Label(_))).map_while(|l| inst(l)?.copy()).collect::<Vec<_>>()
    };
    let first = blocks.iter().filter(|b| matches!(code.lines[b.lines.start], Line::Label(_))).flat_map(begins);
    for (to, from) in first.chain(copies.iter().copied()) {
        if let (Some(a), Some(b)) = (candidate(to), candidate(from)) {
            groups.join(a, b);
        }
    }
    let names: Vec<Reg> = (0..candidates.len()).map(|n| candidates[groups.find(n)]).collect();
    let name = |reg: Reg| candidate(reg).map_or(reg, |n| names[n]);
    for line in &mut code.lines {
        if let Line::Inst(inst) = line {
            inst.rename(name);
        }
    }
    code.lines.retain(|line| inst(line).and_then(Instruction::copy).is_none_or(|(to, from)| to != from));
}

fn inst(line: &Line) -> Option<&Instruction> {
    match line {
        Line::Inst(inst) => Some(inst),
        Line::Label(_) | Line::Plain(_) => None,
    }
}

/// Leaves out numbers that are written where they stand already. Only what one way leads to is looked at.
pub(super) fn forget_repeated(code: &mut Code) {
    let blocks = blocks(&code.lines);
    let mut ways: Vec<Vec<usize>> = vec![Vec::new(); blocks.len()];
    for (n, block) in blocks.iter().enumerate() {
        block.successors.iter().for_each(|s| ways[*s].push(n));
    }
    let mut behind: Vec<Option<HashMap<Reg, String>>> = vec![None; blocks.len()];
    let mut keep = vec![true; code.lines.len()];
    for (n, block) in blocks.iter().enumerate() {
        let mut known = match ways[n][..] {
            [only] if only < n => behind[only].clone().unwrap_or_default(),
            _ => HashMap::new(),
        };
        for place in block.lines.clone() {
            let Some(inst) = inst(&code.lines[place]) else { continue };
            match inst.number() {
                Some((to, number)) if inst.guard.is_none() => {
                    if known.get(&to).is_some_and(|k| k == number) {
                        keep[place] = false;
                    } else {
                        known.insert(to, number.to_string());
                    }
                }
                _ => inst.each_written(|reg| _ = known.remove(&reg)),
            }
        }
        // It is asked for only by who comes behind and from here alone.
        if block.successors.iter().any(|s| *s > n && ways[*s].len() == 1) {
            behind[n] = Some(known);
        }
    }
    let mut n = 0;
    code.lines.retain(|_| {
        n += 1;
        keep[n - 1]
    });
}

/// The lines cut into blocks.
fn blocks(lines: &[Line]) -> Vec<Block> {
    let mut starts = vec![0];
    for (n, line) in lines.iter().enumerate() {
        match line {
            Line::Label(_) => starts.push(n),
            Line::Inst(inst) if inst.flow != Flow::On => starts.push(n + 1),
            _ => {}
        }
    }
    starts.push(lines.len());
    starts.sort_unstable();
    starts.dedup();
    let mut blocks: Vec<Block> =
        starts.windows(2).map(|w| Block { lines: w[0]..w[1], successors: Vec::new() }).collect();
    let mut labels: HashMap<&str, usize> = HashMap::new();
    for (n, block) in blocks.iter().enumerate() {
        if let Some(Line::Label(name)) = lines.get(block.lines.start) {
            labels.insert(name, n);
        }
    }
    let count = blocks.len();
    for (n, block) in blocks.iter_mut().enumerate() {
        let last = inst(&lines[block.lines.end - 1]);
        let mut goes_on = true;
        if let Some(last) = last {
            match &last.flow {
                Flow::On => {}
                Flow::End => goes_on = last.guard.is_some(),
                Flow::To(targets) => {
                    goes_on = last.guard.is_some();
                    block.successors.extend(targets.iter().filter_map(|t| labels.get(t.as_str())));
                }
            }
        }
        if goes_on && n + 1 < count {
            block.successors.push(n + 1);
        }
    }
    blocks
}

/// Which candidates are needed behind each block.
fn live_out(lines: &[Line], blocks: &[Block], candidates: usize, candidate: &impl Fn(Reg) -> Option<usize>) -> Sets {
    let mut needs = Sets::new(blocks.len(), candidates);
    let mut writes = Sets::new(blocks.len(), candidates);
    for (n, block) in blocks.iter().enumerate() {
        for inst in lines[block.lines.clone()].iter().filter_map(inst) {
            let mut read = |reg: Reg| {
                if let Some(c) = candidate(reg).filter(|c| !has(writes.of(n), *c)) {
                    add(needs.of_mut(n), c);
                }
            };
            inst.each_read(&mut read);
            // What is written under a condition keeps its value where that does not hold.
            if inst.guard.is_some() {
                inst.each_written(&mut read);
            } else {
                inst.each_written(|reg| {
                    if let Some(c) = candidate(reg) {
                        add(writes.of_mut(n), c);
                    }
                });
            }
        }
    }
    let mut predecessors: Vec<Vec<usize>> = vec![Vec::new(); blocks.len()];
    for (n, block) in blocks.iter().enumerate() {
        block.successors.iter().for_each(|s| predecessors[*s].push(n));
    }
    let mut out = Sets::new(blocks.len(), candidates);
    let mut work: Vec<usize> = (0..blocks.len()).collect();
    let mut queued = vec![true; blocks.len()];
    while let Some(n) = work.pop() {
        queued[n] = false;
        // What is needed before this block is so behind those before it.
        let before: Vec<u64> = (0..out.words).map(|w| needs.of(n)[w] | out.of(n)[w] & !writes.of(n)[w]).collect();
        for &p in &predecessors[n] {
            let mut grows = false;
            for (o, b) in out.of_mut(p).iter_mut().zip(&before) {
                grows |= *b & !*o != 0;
                *o |= b;
            }
            if grows && !std::mem::replace(&mut queued[p], true) {
                work.push(p);
            }
        }
    }
    out
}

fn stretches(
    lines: &[Line],
    blocks: &[Block],
    live: &Sets,
    candidates: usize,
    candidate: &impl Fn(Reg) -> Option<usize>,
) -> Vec<Stretches> {
    let mut all: Vec<Stretches> = vec![Vec::new(); candidates];
    let mut until: Vec<Option<u32>> = vec![None; candidates];
    // Backwards, so that each list is in falling order.
    for (n, block) in blocks.iter().enumerate().rev() {
        let mut open: Vec<usize> = Vec::new();
        let end = 2 * block.lines.end as u32;
        for (w, &word) in live.of(n).iter().enumerate() {
            let mut word = word;
            while word != 0 {
                let c = w * 64 + word.trailing_zeros() as usize;
                word &= word - 1;
                until[c] = Some(end);
                open.push(c);
            }
        }
        for place in block.lines.clone().rev() {
            let Some(inst) = inst(&lines[place]) else { continue };
            let at = 2 * place as u32;
            inst.each_written(|reg| {
                let Some(c) = candidate(reg) else { return };
                let to = until[c].unwrap_or(at + 2);
                if inst.guard.is_none() {
                    until[c] = None;
                    all[c].push((at + 1, to));
                } else if until[c].is_none() {
                    until[c] = Some(to);
                    open.push(c);
                }
            });
            inst.each_read(|reg| {
                let Some(c) = candidate(reg).filter(|c| until[*c].is_none()) else { return };
                until[c] = Some(at + 1);
                open.push(c);
            });
        }
        let start = 2 * block.lines.start as u32;
        for c in open {
            if let Some(to) = until[c].take() {
                all[c].push((start, to));
            }
        }
    }
    for list in &mut all {
        list.reverse();
        join_neighbours(list);
    }
    all
}

fn join_neighbours(list: &mut Stretches) {
    let mut kept: Stretches = Vec::with_capacity(list.len());
    for &(from, to) in list.iter() {
        match kept.last_mut() {
            Some(last) if last.1 >= from => last.1 = last.1.max(to),
            _ => kept.push((from, to)),
        }
    }
    *list = kept;
}

/// Where each candidate is written: the line, and what is copied there.
type Writes = Vec<(u32, Option<u32>)>;

fn writes(lines: &[Line], candidates: usize, candidate: &impl Fn(Reg) -> Option<usize>) -> Vec<Writes> {
    let mut all = vec![Writes::new(); candidates];
    for (place, inst) in lines.iter().enumerate().filter_map(|(n, l)| Some((n as u32, inst(l)?))) {
        // Under a condition it is the same only where that holds.
        let copied = inst.copy().filter(|_| inst.guard.is_none()).and_then(|(_, from)| candidate(from));
        inst.each_written(|reg| {
            if let Some(c) = candidate(reg) {
                all[c].push((place, copied.map(|c| c as u32)));
            }
        });
    }
    all
}

/// Candidates that have one name.
struct Groups {
    parent: Vec<usize>,
    stretches: Vec<Stretches>,
    writes: Vec<Writes>,
}

impl Groups {
    fn find(&mut self, n: usize) -> usize {
        let mut at = n;
        while self.parent[at] != at {
            self.parent[at] = self.parent[self.parent[at]];
            at = self.parent[at];
        }
        at
    }
    /// Whether one is written with something else while the other is needed.
    fn disturbs(&mut self, one: usize, other: usize) -> bool {
        for n in 0..self.writes[one].len() {
            let (line, copied) = self.writes[one][n];
            let behind = 2 * line + 1;
            let list = &self.stretches[other];
            let before = list.partition_point(|s| s.0 <= behind);
            let needed = before > 0 && list[before - 1].1 > behind;
            if needed && copied.is_none_or(|c| self.find(c as usize) != other) {
                return true;
            }
        }
        false
    }
    /// Makes two one, where that changes nothing.
    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        if a == b || self.disturbs(a, b) || self.disturbs(b, a) {
            return;
        }
        let (stretches, writes) = (std::mem::take(&mut self.stretches[b]), std::mem::take(&mut self.writes[b]));
        let list = &mut self.stretches[a];
        list.extend(stretches);
        list.sort_unstable();
        join_neighbours(list);
        self.writes[a].extend(writes);
        self.parent[b] = a;
    }
}
