//! Which instruction forms the filetests use, and with which words.

use std::collections::{BTreeMap, BTreeSet};

use ptx_frontend::{FormInfo, FormUse, Options, forms, lift_text};

/// The words seen of each form: a set for each of its choices.
#[derive(Clone, Default, Debug)]
pub struct Coverage(BTreeMap<usize, Vec<BTreeSet<&'static str>>>);

/// The forms of a text; of one that is not accepted as a whole only those that are known and refused.
pub fn forms_of(ptx: &str) -> Vec<FormUse> {
    let output = lift_text(ptx, Options { lenient: false });
    let mut uses = output.forms.clone();
    if output.into_result().is_err() {
        let refused: BTreeSet<usize> = forms().filter(|form| form.refused).map(|form| form.index).collect();
        uses.retain(|form| refused.contains(&form.index));
    }
    uses
}

impl Coverage {
    /// Adds what a text uses.
    pub fn add(&mut self, uses: &[FormUse]) {
        for form in uses {
            let seen = self.0.entry(form.index).or_insert_with(|| vec![BTreeSet::new(); form.words.len()]);
            for (seen, words) in seen.iter_mut().zip(&form.words) {
                seen.extend(words);
            }
        }
    }

    /// True if the form was seen at all.
    pub fn has(&self, form: &FormInfo) -> bool {
        self.0.contains_key(&form.index)
    }

    /// What was not seen of a form, such as `rnd: .rz .rm; ftz: left out`; empty if everything was. A form that is
    /// refused says the same whatever its words are.
    pub fn missing(&self, form: &FormInfo) -> String {
        if form.refused {
            return String::new();
        }
        self.gaps(form, |_, _| true)
    }

    /// What was seen of a form here and not in `other`.
    pub fn difference(&self, other: &Self, form: &FormInfo) -> String {
        other.gaps(form, |place, word| self.words(form, place).is_some_and(|seen| seen.contains(word)))
    }

    fn words(&self, form: &FormInfo, place: usize) -> Option<&BTreeSet<&'static str>> {
        self.0.get(&form.index)?.get(place)
    }

    /// The words of a form that are wanted and were not seen.
    fn gaps(&self, form: &FormInfo, wanted: impl Fn(usize, &str) -> bool) -> String {
        let gaps = form.choices.iter().enumerate().filter_map(|(place, (part, words))| {
            let seen = |word: &str| self.words(form, place).is_some_and(|seen| seen.contains(word));
            let gaps = words.iter().filter(|word| wanted(place, word) && !seen(word));
            let gaps: Vec<String> =
                gaps.map(|w| if w.is_empty() { "left out".into() } else { format!(".{w}") }).collect();
            (!gaps.is_empty()).then(|| format!("{part}: {}", gaps.join(" ")))
        });
        gaps.collect::<Vec<_>>().join("; ")
    }
}

/// Every form, in the order of the tables.
pub fn all() -> Vec<FormInfo> {
    forms().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(instructions: &str) -> String {
        format!(
            ".version 9.0\n.target sm_90a\n.address_size 64\n.visible .entry k()\n{{\n.reg .b32 %r<4>;\n.reg .b64 %rd<4>;\n\
             .reg .f32 %f<4>;\n{instructions}\nret;\n}}\n"
        )
    }

    fn form(syntax: &str) -> FormInfo {
        forms().find(|form| form.syntax == syntax).unwrap_or_else(|| panic!("no form `{syntax}`"))
    }

    #[test]
    fn words_are_seen_one_by_one() {
        let mut coverage = Coverage::default();
        let popc = form("popc.type d, a");
        assert!(!coverage.has(&popc));
        coverage.add(&forms_of(&text("popc.b32 %r0, %r1;")));
        assert!(coverage.has(&popc));
        assert_eq!(coverage.missing(&popc), "type: .b64");
        let mut both = coverage.clone();
        both.add(&forms_of(&text("popc.b64 %r0, %rd1;")));
        assert_eq!(both.difference(&coverage, &popc), "type: .b64");
        assert_eq!(coverage.difference(&both, &popc), "");
        assert!(forms_of(&text("popc.b33 %r0, %r1;")).is_empty());
    }

    #[test]
    fn a_part_that_may_be_left_out_is_a_choice() {
        let add = forms().find(|form| form.syntax.starts_with("add{.") && form.syntax.contains(".f32 d")).unwrap();
        let mut coverage = Coverage::default();
        coverage.add(&forms_of(&text("add.rz.ftz.f32 %f0, %f1, %f2;")));
        assert!(coverage.missing(&add).contains("ftz: left out"), "{}", coverage.missing(&add));
        coverage.add(&forms_of(&text("add.f32 %f0, %f1, %f2;")));
        assert!(!coverage.missing(&add).contains("ftz"), "{}", coverage.missing(&add));
    }
}
