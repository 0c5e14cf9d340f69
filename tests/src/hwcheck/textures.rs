//! The texture sweep: reads of textures and accesses of surfaces at many coordinates, on the driver and on the
//! interpreter. What the driver gave is recorded with the inputs, so that it can be compared again later without it.
//!
//! A record is a sequence of entries, each a line of JSON that describes the case and, behind it, so many bytes of
//! texels, inputs, outputs and texels afterwards as the line says.

mod cases;

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::Command;

use hetgpu_tests::engines::interp;
use hetgpu_tests::files::fingerprint;
use hetgpu_tests::sweep::HEADER;
use hetir::interp::texture::{Channel, Image, Kind, Object, Sampler, Texture};
use hetir::interp::{Arena, Launch, Options, run};
use serde_json::{Value, json};

use crate::driver::{Array, Driver, DriverError, ImageShape, Module, Resource, Shape};

/// Threads a block.
const BLOCK: u32 = 128;

/// The handle of the case's texture or surface on the interpreter.
const HANDLE: u64 = 0x7e00_0000_0001;

/// More bytes of texels are not recorded: the case makes them anew.
const MOST_TEXELS: usize = 1 << 16;

/// So many cases may end their process without an outcome.
const MOST_SILENT: usize = 20;

/// Differences shown of one case.
const SHOWN: usize = 3;

/// One kernel, one image, many inputs.
#[derive(Debug)]
struct Case {
    name: String,
    image: Image,
    shape: ImageShape,
    resource: Resource,
    texels: Vec<u8>,
    /// How a texture is read; a surface has nothing.
    texture: Option<(Sampler, bool)>,
    /// Instructions from `%r0` on to `%o0` on; `%t` is the handle.
    body: String,
    /// Words that a thread reads.
    inputs: usize,
    /// Words that a thread writes.
    outputs: usize,
    data: Vec<u32>,
}

/// How far a result may be from the hardware's, and the cases that are known to be further away.
enum Bound {
    Exact,
    /// The last three bits of the channel's type: where large numbers cancel, the last bit of theirs.
    LastBits,
    /// As a number.
    Within(f32),
    /// The same, but one value of a thousand may be anything: a coordinate on a cube may be a step of 1/256 beside, and
    /// the sums of two slices may cancel.
    Seldom,
    /// Why it is not reached.
    Known(&'static str),
}

/// The bounds of cases by the beginning of their names; the first one counts, and a case without one is exact.
const BOUNDS: [(&str, Bound); 16] = [
    ("mixtures/f32x1/3d/", Bound::Seldom),
    ("mixtures/f16x1/3d/", Bound::Seldom),
    ("levels/1d/Linear/", Bound::LastBits),
    ("levels/2d/Linear/", Bound::LastBits),
    ("cubes/Linear/", Bound::Seldom),
    ("levels/3d/", Bound::LastBits),
    ("levels/acube/", Bound::Seldom),
    ("levels/cube/", Bound::Seldom),
    ("levels/a", Bound::LastBits),
    ("steps/1d/", Bound::Within(0.01)),
    ("steps/a1d/", Bound::Within(0.01)),
    ("steps/2d/", Bound::Within(0.2)),
    ("steps/a2d/", Bound::Within(0.2)),
    ("steps/", Bound::Known("the levels that steps in three dimensions and on cubes lead to are not understood")),
    ("fetch/1d/", Bound::Known("a line that is no plain memory is read by number as zeros, and here as its texels")),
    ("queries/txq", Bound::Known("images here do not know whether their layers are the faces of cubes")),
];

impl Bound {
    fn of(name: &str) -> &'static Self {
        BOUNDS.iter().find(|(start, _)| name.starts_with(start)).map_or(&Self::Exact, |(_, bound)| bound)
    }

    fn allows(&self, case: &Case, here: u32, there: u32) -> bool {
        let [a, b] = [here, there].map(f32::from_bits);
        match self {
            Self::Exact | Self::Known(_) => false,
            Self::LastBits | Self::Seldom => {
                here.abs_diff(there) <= if case.image.channel == Channel::F16 { 8 << 13 } else { 8 }
            }
            Self::Within(distance) => (a - b).abs() <= *distance,
        }
    }
}

/// What a case left behind.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Outcome {
    /// Words that the threads wrote.
    words: Vec<u32>,
    /// The texels of a surface.
    texels: Vec<u8>,
}

/// Splitmix64.
struct Random(u64);

impl Random {
    fn named(name: &str, seed: u64) -> Self {
        Self(fingerprint(name) ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
    fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 16) as u32
    }
    /// From 0 to 1.
    fn unit(&mut self) -> f64 {
        f64::from(self.bits()) / 4294967296.0
    }
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.unit() * (high - low)
    }
    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.bits() as usize % all.len()]
    }
}

impl Case {
    fn count(&self) -> u32 {
        (self.data.len() / self.inputs.max(1)) as u32
    }

    /// The text of its module: a kernel `k` of handle, inputs, outputs and their number.
    fn module(&self) -> String {
        let mut text = HEADER.to_string();
        text += ".visible .entry k(.param .u64 t, .param .u64 in, .param .u64 out, .param .u32 count)\n{\n";
        text += "\t.reg .b64 %t, %a, %w, %q<4>;\n\t.reg .b32 %i, %n, %r<16>, %o<8>, %v<8>;\n";
        text += "\t.reg .b16 %h<8>;\n\t.reg .f32 %f<8>;\n\t.reg .pred %p<4>;\n";
        text += "\tmov.u32 %i, %ctaid.x;\n\tmov.u32 %n, %ntid.x;\n\tmul.lo.u32 %i, %i, %n;\n";
        text += "\tmov.u32 %n, %tid.x;\n\tadd.u32 %i, %i, %n;\n\tld.param.u32 %n, [count];\n";
        text += "\tsetp.ge.u32 %p0, %i, %n;\n\t@%p0 ret;\n\tld.param.u64 %t, [t];\n\tld.param.u64 %a, [in];\n";
        text += &format!("\tmul.wide.u32 %w, %i, {};\n\tadd.u64 %a, %a, %w;\n", 4 * self.inputs);
        for n in 0..self.inputs {
            text += &format!("\tld.global.b32 %r{n}, [%a+{}];\n", 4 * n);
        }
        text += &format!("\t{}\n\tld.param.u64 %a, [out];\n", self.body);
        text += &format!("\tmul.wide.u32 %w, %i, {};\n\tadd.u64 %a, %a, %w;\n", 4 * self.outputs);
        for n in 0..self.outputs {
            text += &format!("\tst.global.b32 [%a+{}], %o{n};\n", 4 * n);
        }
        text + "\tret;\n}\n"
    }

    fn input_bytes(&self) -> Vec<u8> {
        self.data.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Those of surfaces are only recorded as they are afterwards.
    fn records_texels(&self) -> bool {
        self.texture.is_some() && self.texels.len() <= MOST_TEXELS
    }

    /// The first lines of an entry.
    fn describe(&self) -> Value {
        let image = &self.image;
        let mut out = json!({
            "name": self.name, "shape": format!("{:?}", self.shape), "resource": format!("{:?}", self.resource),
            "channel": format!("{:?}", image.channel), "channels": image.channels,
            "extents": [image.width, image.height, image.depth], "layers": image.layers,
            "levels": image.levels.len(), "body": self.body, "inputs": self.inputs,
            "outputs": self.outputs,
        });
        if let Some((sampler, normalized_floats)) = &self.texture {
            out["normalized_floats"] = json!(normalized_floats);
            out["sampler"] = json!({
                "address": sampler.address.map(|mode| format!("{mode:?}")), "filter": format!("{:?}", sampler.filter),
                "mip_filter": format!("{:?}", sampler.mip_filter), "normalized": sampler.normalized,
                "border": sampler.border.map(f32::to_bits), "level_bias": sampler.level_bias,
                "level_range": sampler.level_range,
            });
        }
        out
    }

    /// What the interpreter makes of it.
    fn interpret(&self) -> Result<Outcome, String> {
        let module = interp::lift(&self.module()).map_err(|error| error.to_string())?;
        let kernel = module.function("k").ok_or("no kernel")?;
        let mut memory = Arena::new();
        let place = memory.alloc("image", self.texels.clone());
        let inputs = memory.alloc("inputs", self.input_bytes());
        let words = self.count() as usize * self.outputs;
        let outputs = memory.alloc("outputs", vec![0xa5; (4 * words).max(4)]);
        let mut image = self.image.clone();
        image.levels.iter_mut().for_each(|level| level.address += place);
        let kind = match self.texture {
            Some((sampler, normalized_floats)) => Kind::Texture(Texture { image, sampler, normalized_floats }),
            None => Kind::Surface(image),
        };
        let objects = [Object { handle: HANDLE, kind }];
        let mut params: Vec<u8> = [HANDLE, inputs, outputs].iter().flat_map(|v| v.to_le_bytes()).collect();
        params.extend(self.count().to_le_bytes());
        let launch = Launch {
            grid: [self.count().div_ceil(BLOCK), 1, 1],
            block: [BLOCK, 1, 1],
            params: &params,
            images: &objects,
            ..Launch::new(&module, kernel)
        };
        run(&launch, &mut memory, &mut Options::default()).map_err(|fault| fault.to_string())?;
        let bytes = |address| memory.region(address).map(|r| r.data.clone()).unwrap_or_default();
        let words_of = |bytes: Vec<u8>| bytes.chunks_exact(4).take(words).map(le_word).collect();
        let texels = if self.texture.is_none() { bytes(place) } else { Vec::new() };
        Ok(Outcome { words: words_of(bytes(outputs)), texels })
    }

    /// What the driver makes of it.
    fn execute<'d>(&self, driver: &'d Driver, modules: &mut Modules<'d>) -> Result<Outcome, String> {
        let message = |error: DriverError| error.message;
        let module = modules.entry(self.module()).or_insert_with_key(|text| driver.load(text));
        let module = module.as_ref().map_err(|error| error.message.clone())?;
        let function = module.function("k").map_err(message)?;
        let array = Array::new(driver, &self.image, self.shape, self.resource, &self.texels).map_err(message)?;
        let object = match &self.texture {
            Some((sampler, normalized_floats)) => array.texture(sampler, *normalized_floats),
            None => array.surface(),
        };
        let object = object.map_err(message)?;
        let inputs = driver.memory(&self.input_bytes()).map_err(message)?;
        let words = self.count() as usize * self.outputs;
        let outputs = driver.memory(&vec![0xa5; (4 * words).max(4)]).map_err(message)?;
        let mut arguments: Vec<Vec<u8>> =
            [object.handle, inputs.address, outputs.address].iter().map(|v| v.to_le_bytes().to_vec()).collect();
        arguments.push(self.count().to_le_bytes().to_vec());
        let grid = [self.count().div_ceil(BLOCK), 1, 1];
        let shape = Shape { grid, block: [BLOCK, 1, 1], cluster: [1; 3], shared: 0, cooperative: false };
        driver.launch(&function, &shape, &arguments).map_err(message)?;
        let bytes = outputs.read().map_err(message)?;
        let texels = if self.texture.is_none() { array.read().map_err(message)? } else { Vec::new() };
        Ok(Outcome { words: bytes.chunks_exact(4).take(words).map(le_word).collect(), texels })
    }
}

/// What became of each text that was loaded.
type Modules<'d> = HashMap<String, Result<Module<'d>, DriverError>>;

fn le_word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// What the command line says of the sweep.
pub(crate) struct Plan<'a> {
    pub(crate) count: usize,
    pub(crate) seed: u64,
    /// Only cases whose name contains this.
    pub(crate) only: &'a str,
    /// Where the outcomes are written.
    pub(crate) record: &'a Path,
}

impl Plan<'_> {
    fn cases(&self) -> Vec<Case> {
        let all = cases::cases(self.seed, self.count.next_multiple_of(BLOCK as usize));
        all.into_iter().filter(|case| case.name.contains(self.only)).collect()
    }
}

/// Runs the cases from the n-th on, on the driver or, without one, on the interpreter. The process ends with a case that
/// leaves the context unusable.
pub(crate) fn work(plan: &Plan<'_>, libcuda: Option<&Path>, first: usize) -> Result<bool, String> {
    let driver = libcuda.map(Driver::open).transpose()?;
    let file = OpenOptions::new().append(true).create(true).open(plan.record);
    let mut file = file.map_err(|error| error.to_string())?;
    let mut modules = Modules::new();
    for case in plan.cases().iter().skip(first) {
        let outcome = match &driver {
            Some(driver) => case.execute(driver, &mut modules),
            None => case.interpret(),
        };
        write_entry(&mut file, case, &outcome)?;
        if driver.as_ref().is_some_and(|driver| !driver.is_usable()) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn write_entry(file: &mut File, case: &Case, outcome: &Result<Outcome, String>) -> Result<(), String> {
    let mut head = case.describe();
    let inputs = case.input_bytes();
    let shown = if case.records_texels() { &case.texels[..] } else { &[] };
    let mut parts: Vec<&[u8]> = vec![shown, &inputs];
    let words: Vec<u8>;
    match outcome {
        Ok(outcome) => {
            words = outcome.words.iter().flat_map(|word| word.to_le_bytes()).collect();
            parts.extend([&words[..], &outcome.texels]);
        }
        Err(message) => head["error"] = json!(message),
    }
    head["bytes"] = json!(parts.iter().map(|part| part.len()).collect::<Vec<_>>());
    let mut entry = format!("{head}\n").into_bytes();
    parts.iter().for_each(|part| entry.extend_from_slice(part));
    file.write_all(&entry).map_err(|error| error.to_string())
}

/// Runs all cases in processes of their own, then compares.
pub(crate) fn sweep(plan: &Plan<'_>, libcuda: Option<&Path>) -> Result<bool, String> {
    let _ = std::fs::remove_file(plan.record);
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let count = plan.cases().len();
    let (mut done, mut silent) = (0, 0);
    while done < count {
        let mut command = Command::new(&program);
        command.args(["--texture-sweep", &plan.count.to_string(), "--seed", &plan.seed.to_string()]);
        command.args(["--only", plan.only, "--texture-worker", &done.to_string()]).arg("--record").arg(plan.record);
        match libcuda {
            Some(libcuda) => command.arg("--libcuda").arg(libcuda),
            None => command.arg("--interpreter"),
        };
        command.status().map_err(|error| error.to_string())?;
        let now = read_record(plan.record)?.len();
        if now == done {
            silent += 1;
            if silent > MOST_SILENT {
                return Err("the processes end before they answer".into());
            }
            let mut file = OpenOptions::new().append(true).create(true).open(plan.record).map_err(|e| e.to_string())?;
            let all = plan.cases();
            write_entry(&mut file, &all[done], &Err("the process ended".into()))?;
        }
        done = now.max(done + 1);
    }
    replay(plan)
}

/// An entry of a record.
struct Entry {
    head: Value,
    texels: Vec<u8>,
    inputs: Vec<u8>,
    outcome: Option<Outcome>,
}

fn read_record(path: &Path) -> Result<Vec<Entry>, String> {
    let Ok(file) = File::open(path) else { return Ok(Vec::new()) };
    let mut file = BufReader::new(file);
    let mut out = Vec::new();
    loop {
        let mut line = String::new();
        if file.read_line(&mut line).map_err(|error| error.to_string())? == 0 {
            return Ok(out);
        }
        let head: Value = serde_json::from_str(&line).map_err(|error| error.to_string())?;
        let mut parts = Vec::new();
        for length in head["bytes"].as_array().into_iter().flatten() {
            let mut part = vec![0; length.as_u64().unwrap_or(0) as usize];
            file.read_exact(&mut part).map_err(|error| error.to_string())?;
            parts.push(part);
        }
        let mut parts = parts.into_iter();
        let mut next = || parts.next();
        let (texels, inputs) = (next().unwrap_or_default(), next().unwrap_or_default());
        let outcome = next().map(|words| Outcome {
            words: words.chunks_exact(4).map(le_word).collect(),
            texels: next().unwrap_or_default(),
        });
        out.push(Entry { head, texels, inputs, outcome });
    }
}

/// The counts of a group of cases.
#[derive(Default)]
struct Tally {
    cases: usize,
    equal: usize,
    values: u64,
    same: u64,
    within: u64,
    refused: BTreeMap<String, usize>,
}

/// Compares a record with the interpreter.
pub(crate) fn replay(plan: &Plan<'_>) -> Result<bool, String> {
    let all = plan.cases();
    let by_name: HashMap<&str, &Case> = all.iter().map(|case| (case.name.as_str(), case)).collect();
    let mut groups: BTreeMap<String, Tally> = BTreeMap::new();
    let (mut different, mut stale) = (0, 0);
    for entry in read_record(plan.record)? {
        let name = entry.head["name"].as_str().unwrap_or_default();
        if !name.contains(plan.only) {
            continue;
        }
        let Some(case) = by_name.get(name).filter(|case| {
            (case.texels == entry.texels || !case.records_texels())
                && case.input_bytes() == entry.inputs
                && entry.head["body"] == case.body
        }) else {
            stale += 1;
            println!("{name}: the record is of another case");
            continue;
        };
        let group: Vec<&str> = name.split('/').take(2).collect();
        let tally = groups.entry(group.join("/")).or_default();
        tally.cases += 1;
        let Some(there) = entry.outcome else {
            let error = entry.head["error"].as_str().unwrap_or_default().lines().next().unwrap_or_default();
            *tally.refused.entry(error.to_string()).or_default() += 1;
            continue;
        };
        let here = match case.interpret() {
            Ok(here) => here,
            Err(error) => {
                different += 1;
                println!("{name}: differs, here {}", error.lines().next().unwrap_or_default());
                continue;
            }
        };
        let bound = Bound::of(name);
        let unequal = |n: &usize| here.words.get(*n) != there.words.get(*n);
        let unequal: Vec<usize> = (0..there.words.len()).filter(unequal).collect();
        let is_wrong = |n: &usize| here.words.get(*n).is_none_or(|here| !bound.allows(case, *here, there.words[*n]));
        let mut wrong: Vec<usize> = unequal.iter().copied().filter(is_wrong).collect();
        if matches!(bound, Bound::Seldom) && wrong.len() * 1000 <= there.words.len() {
            wrong.clear();
        }
        let changed: Vec<usize> =
            (0..there.texels.len()).filter(|n| here.texels.get(*n) != there.texels.get(*n)).collect();
        let count = (there.words.len() + there.texels.len()) as u64;
        tally.values += count;
        tally.same += count - (unequal.len() + changed.len()) as u64;
        tally.within += (unequal.len() - wrong.len()) as u64;
        if wrong.is_empty() && changed.is_empty() {
            tally.equal += 1;
            continue;
        }
        if let Bound::Known(why) = bound {
            *tally.refused.entry(format!("known to differ: {why}")).or_default() += 1;
            continue;
        }
        different += 1;
        println!("{name}: {} of {count} differ", wrong.len() + changed.len());
        for n in wrong.iter().take(SHOWN) {
            let thread = n / case.outputs.max(1);
            let inputs: Vec<String> =
                case.data[thread * case.inputs..][..case.inputs].iter().map(|word| show(*word)).collect();
            println!(
                "  {} -> {}: here {}, there {}",
                inputs.join(" "),
                n % case.outputs,
                show(here.words[*n]),
                show(there.words[*n])
            );
        }
        for n in changed.iter().take(SHOWN) {
            println!("  byte {n}: here {:#x}, there {:#x}", here.texels[*n], there.texels[*n]);
        }
    }
    for (name, tally) in &groups {
        let Tally { cases, equal, values, same, within, refused } = tally;
        println!(
            "{name}: {equal} of {cases} cases pass; of {values} values {same} are equal, {within} within the bound"
        );
        for (error, count) in refused {
            println!("  {count} cases: {error}");
        }
    }
    println!("{different} different, {stale} of other cases");
    Ok(different + stale == 0)
}

fn show(word: u32) -> String {
    format!("{word:#x}({:?})", f32::from_bits(word))
}
