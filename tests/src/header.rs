//! The header of a filetest: `//!` lines at the top of a .ptx file that form one TOML document. `tests/README.md`
//! describes the keys. Unknown keys, values that a type cannot hold and runs that expect nothing are errors.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use hetir::interp::texture::{AddressMode, Channel, Compare, Filter, Image, Sampler};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::elem::Elem;
use crate::fault::{self, FaultKind};
use crate::pattern::Pattern;

/// What a buffer holds where the header gives no contents: a kernel that writes nothing is not taken for right.
pub const POISON: u8 = 0xcc;

/// From so many elements on, `expect = "oracle"` needs no tolerance: one wrong oracle value cannot hide all of them.
const MANY: usize = 64;

const MAX_ELEMENTS: usize = 1 << 24;
const MAX_THREADS: u64 = 1 << 24;

/// The devices that `xfail` and `interpreted` may name.
pub const DEVICES: [&str; 10] =
    ["interp", "cpu", "nvidia", "amd", "intel", "vulkan", "hardware", "migrate", "print", "reprint"];

/// The checks of the interpreter that `unchecked` may name.
pub const CHECKS: [&str; 2] = ["race", "uninitialised"];

/// The architecture for which ptxas assembles a file that names none.
pub const DEFAULT_ARCH: &str = "sm_90a";

/// A parsed header.
#[derive(Clone, PartialEq, Debug)]
pub struct Filetest {
    pub runs: Vec<Run>,
    /// The errors that the front end must report; such a file has no runs.
    pub errors: Vec<ExpectedError>,
    pub ptxas: Ptxas,
    /// Why NVIDIA's hardware is not asked.
    pub hardware_skip: Option<String>,
    /// Names of forms that the file claims to test.
    pub covers: Vec<String>,
}

/// An error message that the front end must give.
#[derive(Clone, PartialEq, Debug)]
pub struct ExpectedError {
    pub message: String,
    pub line: Option<usize>,
}

/// What ptxas is expected to say.
#[derive(Clone, PartialEq, Debug)]
pub struct Ptxas {
    pub arch: String,
    pub accepts: bool,
}

/// One launch.
#[derive(Clone, PartialEq, Debug)]
pub struct Run {
    pub kernel: String,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub cluster: [u32; 3],
    pub cooperative: bool,
    /// Dynamic shared memory in bytes.
    pub shared: u32,
    /// How many schedules are tried by an engine that has seeds.
    pub seeds: u32,
    pub args: Vec<Arg>,
    pub fault: Option<ExpectedFault>,
    /// What the kernel prints.
    pub prints: Option<String>,
    /// Checks of the interpreter that are left out, with the reason.
    pub unchecked: BTreeMap<String, String>,
    /// Device name to reason.
    pub xfail: BTreeMap<String, String>,
    /// Devices that have no machine code for the kernel, and why.
    pub interpreted: BTreeMap<String, String>,
    pub hardware_skip: Option<String>,
}

/// The fault that a run must end with.
#[derive(Clone, PartialEq, Debug)]
pub struct ExpectedFault {
    pub kind: FaultKind,
    /// A part of the message; may be empty.
    pub message: String,
    /// Every device notices it, also if not all faults of its kind.
    pub everywhere: bool,
}

/// One kernel argument.
#[derive(Clone, PartialEq, Debug)]
pub enum Arg {
    /// The bytes of a scalar or an aggregate.
    Value(Vec<u8>),
    /// The address of device memory, or the handle of a texture or surface over it.
    Buffer(Buffer),
    /// The handle of a sampler.
    Sampler(Bound<Sampler>),
}

/// Something that has a handle; where it is bound to a variable of the module, it is no argument.
#[derive(Clone, PartialEq, Debug)]
pub struct Bound<T> {
    pub what: T,
    pub variable: Option<String>,
}

/// A buffer seen as an image.
#[derive(Clone, PartialEq, Debug)]
pub struct View {
    /// The image, at address 0.
    pub image: Image,
    /// The layers are the faces of cubes.
    pub cube: bool,
    /// The texels lie in plain memory: the hardware has two ways of reading a line.
    pub linear: bool,
    /// Of a texture, how it is read and whether integers become fractions; a surface has neither.
    pub texture: Option<(Sampler, bool)>,
}

/// Device memory.
#[derive(Clone, PartialEq, Debug)]
pub struct Buffer {
    pub elem: Elem,
    pub len: usize,
    /// Contents before the launch.
    pub initial: Vec<u8>,
    pub expect: Expect,
    pub tolerance: Tolerance,
    /// The texture or surface that is passed instead of the address.
    pub view: Option<Bound<View>>,
}

/// What a buffer must hold after the launch.
#[derive(Clone, PartialEq, Debug)]
pub enum Expect {
    /// What it held before.
    Unchanged,
    /// Anything.
    Any,
    /// What the interpreter computes.
    Oracle,
    /// These elements; those behind them are unchanged.
    Elements(Vec<Want>),
}

/// What one element must be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Want {
    Bits(u64),
    AnyNan,
    Any,
}

/// How far an element may be from the expected one; both absent: not a bit.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Tolerance {
    pub ulp: Option<u64>,
    pub abs: Option<f64>,
}

impl Tolerance {
    pub fn is_exact(self) -> bool {
        self == Self::default()
    }
}

/// What is wrong with a header, and on which line of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeaderError {
    pub line: usize,
    pub message: String,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl Filetest {
    /// Parses the header of a file.
    pub fn parse(source: &str) -> Result<Self, HeaderError> {
        let text = header_text(source)?;
        let line_of = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
        let document = DeTable::parse(&text).map_err(|error| HeaderError {
            line: line_of(error.span().map_or(0, |span| span.start)),
            message: format!("not TOML: {}", error.message()),
        })?;
        filetest(&document).map_err(|wrong| HeaderError { line: line_of(wrong.span.start), message: wrong.message })
    }
}

/// The TOML text of a header; line k of it is line k of the file.
fn header_text(source: &str) -> Result<String, HeaderError> {
    let mut text = String::new();
    let mut ended = false;
    for (index, line) in source.lines().enumerate() {
        match line.strip_prefix("//!") {
            Some(_) if ended => {
                let message = "a header line after the end of the header".into();
                return Err(HeaderError { line: index + 1, message });
            }
            Some(rest) => {
                text.push_str(rest.strip_prefix(' ').unwrap_or(rest));
                text.push('\n');
            }
            None => ended = true,
        }
    }
    if text.is_empty() {
        return Err(HeaderError { line: 1, message: "the file does not start with a header of `//!` lines".into() });
    }
    Ok(text)
}

/// What is wrong with a part of the document.
struct Wrong {
    span: Range<usize>,
    message: String,
}

type Parsed<T> = Result<T, Wrong>;
type Value<'d> = Spanned<DeValue<'d>>;

fn wrong<T>(value: &Value<'_>, message: impl Into<String>) -> Parsed<T> {
    Err(Wrong { span: value.span(), message: message.into() })
}

/// The fields of a table, each taken once; what nobody takes is an unknown key.
struct Fields<'t, 'd> {
    table: &'t DeTable<'d>,
    span: Range<usize>,
    what: &'static str,
    known: Vec<&'static str>,
}

impl<'t, 'd> Fields<'t, 'd> {
    fn new(table: &'t DeTable<'d>, span: Range<usize>, what: &'static str) -> Self {
        Self { table, span, what, known: Vec::new() }
    }

    fn of(value: &'t Value<'d>, what: &'static str) -> Parsed<Self> {
        match value.get_ref() {
            DeValue::Table(table) => Ok(Self::new(table, value.span(), what)),
            other => wrong(value, format!("{what} is a table, not {}", other.type_str())),
        }
    }

    fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    fn take(&mut self, key: &'static str) -> Option<&'t Value<'d>> {
        self.known.push(key);
        self.table.get(key)
    }

    fn need(&mut self, key: &'static str) -> Parsed<&'t Value<'d>> {
        let missing = Wrong { span: self.span.clone(), message: format!("{} needs `{key}`", self.what) };
        self.take(key).ok_or(missing)
    }

    fn finish(self) -> Parsed<()> {
        match self.table.iter().find(|(key, _)| !self.known.contains(&key.get_ref().as_ref())) {
            None => Ok(()),
            Some((key, _)) => Err(Wrong {
                span: key.span(),
                message: format!(
                    "{} has no key `{}`; it knows {}",
                    self.what,
                    key.get_ref(),
                    self.known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(" ")
                ),
            }),
        }
    }
}

fn string<'t>(value: &'t Value<'_>) -> Parsed<&'t str> {
    value.get_ref().as_str().map_or_else(|| wrong(value, "a string is expected here"), Ok)
}

/// A reason: text that says something.
fn reason(value: &Value<'_>) -> Parsed<String> {
    match string(value)?.trim() {
        text if text.len() < 8 => wrong(value, "a reason is a sentence"),
        text => Ok(text.to_string()),
    }
}

fn array<'t, 'd>(value: &'t Value<'d>) -> Parsed<&'t [Value<'d>]> {
    value.get_ref().as_array().map_or_else(|| wrong(value, "an array is expected here"), |array| Ok(&array[..]))
}

fn unsigned(value: &Value<'_>, high: u64) -> Parsed<u64> {
    let number = value.get_ref().as_integer().and_then(|i| u64::from_str_radix(i.as_str(), i.radix()).ok());
    match number {
        Some(number) if number <= high => Ok(number),
        _ => wrong(value, format!("an integer from 0 to {high} is expected here")),
    }
}

fn float(value: &Value<'_>) -> Parsed<f64> {
    let number = match value.get_ref() {
        DeValue::Float(f) => f.as_str().parse().ok(),
        DeValue::Integer(i) if i.radix() == 10 => i.as_str().parse().ok(),
        _ => None,
    };
    match number {
        Some(number) if f64::is_finite(number) => Ok(number),
        _ => wrong(value, "a finite number is expected here"),
    }
}

fn filetest(document: &Spanned<DeTable<'_>>) -> Parsed<Filetest> {
    let mut fields = Fields::new(document.get_ref(), document.span(), "the header");
    let runs = match fields.take("run") {
        None => Vec::new(),
        Some(runs) => array(runs)?.iter().map(run).collect::<Parsed<_>>()?,
    };
    let errors = match fields.take("error") {
        None => Vec::new(),
        Some(value) => match value.get_ref() {
            DeValue::Array(all) => all.iter().map(expected_error).collect::<Parsed<_>>()?,
            _ => vec![expected_error(value)?],
        },
    };
    let ptxas = ptxas(fields.take("ptxas"), !errors.is_empty())?;
    let hardware_skip = fields.take("hardware").map(hardware).transpose()?;
    let covers = match fields.take("covers") {
        None => Vec::new(),
        Some(value) => array(value)?.iter().map(|name| string(name).map(String::from)).collect::<Parsed<_>>()?,
    };
    let span = fields.span.clone();
    fields.finish()?;
    match (runs.is_empty(), errors.is_empty()) {
        (true, true) => Err(Wrong { span, message: "the header has neither `[[run]]` nor `error`".into() }),
        (false, false) => Err(Wrong { span, message: "a file with `error` has no `[[run]]`".into() }),
        _ => Ok(Filetest { runs, errors, ptxas, hardware_skip, covers }),
    }
}

fn expected_error(value: &Value<'_>) -> Parsed<ExpectedError> {
    if let Some(message) = value.get_ref().as_str() {
        return Ok(ExpectedError { message: message.to_string(), line: None });
    }
    let mut fields = Fields::of(value, "`error`")?;
    let message = string(fields.need("message")?)?.to_string();
    let line = fields.take("line").map(|line| unsigned(line, 1 << 20)).transpose()?.map(|line| line as usize);
    fields.finish()?;
    Ok(ExpectedError { message, line })
}

fn ptxas(value: Option<&Value<'_>>, front_end_refuses: bool) -> Parsed<Ptxas> {
    let mut out = Ptxas { arch: DEFAULT_ARCH.into(), accepts: !front_end_refuses };
    let Some(value) = value else { return Ok(out) };
    let mut fields = Fields::of(value, "`ptxas`")?;
    if let Some(arch) = fields.take("arch") {
        out.arch = string(arch)?.to_string();
    }
    match (fields.take("refuse"), fields.take("accept")) {
        (None, None) => {}
        (Some(why), None) if !front_end_refuses => {
            reason(why)?;
            out.accepts = false;
        }
        (None, Some(why)) if front_end_refuses => {
            reason(why)?;
            out.accepts = true;
        }
        (Some(why), _) => return wrong(why, "ptxas is expected to refuse a file with `error` without further words"),
        (_, Some(why)) => {
            return wrong(why, "ptxas is expected to accept a file without `error` without further words");
        }
    }
    fields.finish()?;
    Ok(out)
}

fn hardware(value: &Value<'_>) -> Parsed<String> {
    let mut fields = Fields::of(value, "`hardware`")?;
    let skip = reason(fields.need("skip")?)?;
    fields.finish()?;
    Ok(skip)
}

fn run(value: &Value<'_>) -> Parsed<Run> {
    let mut fields = Fields::of(value, "a run")?;
    let kernel = string(fields.need("kernel")?)?.to_string();
    let grid = dimensions(fields.need("grid")?)?;
    let block = dimensions(fields.need("block")?)?;
    let cluster = fields.take("cluster").map(dimensions).transpose()?.unwrap_or([1; 3]);
    let cooperative = match fields.take("cooperative") {
        None => false,
        Some(value) => value.get_ref().as_bool().map_or_else(|| wrong(value, "true or false is expected"), Ok)?,
    };
    let shared = fields.take("shared").map(|v| unsigned(v, 227 << 10)).transpose()?.unwrap_or(0) as u32;
    let seeds = match fields.take("seeds") {
        None => 1,
        Some(value) => match unsigned(value, 1000)? {
            0 => return wrong(value, "at least one seed is needed"),
            seeds => seeds as u32,
        },
    };
    let args = match fields.take("args") {
        None => Vec::new(),
        Some(args) => array(args)?.iter().map(arg).collect::<Parsed<Vec<_>>>()?,
    };
    let fault = fields.take("fault").map(expected_fault).transpose()?;
    let prints = fields.take("prints").map(|value| string(value).map(String::from)).transpose()?;
    let unchecked = reasons(fields.take("unchecked"), "check", &CHECKS)?;
    let xfail = reasons(fields.take("xfail"), "device", &DEVICES)?;
    let interpreted = reasons(fields.take("interpreted"), "device", &DEVICES)?;
    let hardware_skip = fields.take("hardware").map(hardware).transpose()?;
    fields.finish()?;

    let threads = grid.iter().chain(&block).map(|&n| u64::from(n)).try_fold(1u64, u64::checked_mul);
    if threads.is_none_or(|threads| threads > MAX_THREADS) {
        return wrong(value, format!("more than {MAX_THREADS} threads"));
    }
    if block.iter().product::<u32>() > 1024 {
        return wrong(value, "more than 1024 threads a block");
    }
    let expects = |arg: &Arg| matches!(arg, Arg::Buffer(b) if matches!(b.expect, Expect::Oracle | Expect::Elements(_)));
    if fault.is_none() && prints.is_none() && !args.iter().any(expects) {
        return wrong(value, "the run expects nothing: give a buffer an `expect`, or the run `prints` or `fault`");
    }
    Ok(Run {
        kernel,
        grid,
        block,
        cluster,
        cooperative,
        shared,
        seeds,
        args,
        fault,
        prints,
        unchecked,
        xfail,
        interpreted,
        hardware_skip,
    })
}

/// A table of names to reasons.
fn reasons(value: Option<&Value<'_>>, what: &str, names: &[&str]) -> Parsed<BTreeMap<String, String>> {
    let mut out = BTreeMap::new();
    let Some(value) = value else { return Ok(out) };
    let Some(table) = value.get_ref().as_table() else {
        return wrong(value, "a table of names to reasons is expected");
    };
    for (name, why) in table {
        if !names.contains(&name.get_ref().as_ref()) {
            let message = format!("no {what} `{}`; there are {}", name.get_ref(), names.join(" "));
            return Err(Wrong { span: name.span(), message });
        }
        out.insert(name.get_ref().to_string(), reason(why)?);
    }
    Ok(out)
}

fn dimensions(value: &Value<'_>) -> Parsed<[u32; 3]> {
    let one = |value: &Value<'_>| match unsigned(value, u64::from(u32::MAX))? {
        0 => wrong(value, "a dimension is at least 1"),
        n => Ok(n as u32),
    };
    let mut out = [1; 3];
    match value.get_ref() {
        DeValue::Array(all) if (1..=3).contains(&all.len()) => {
            for (out, value) in out.iter_mut().zip(all.iter()) {
                *out = one(value)?;
            }
        }
        DeValue::Array(_) => return wrong(value, "one to three dimensions are expected"),
        _ => out[0] = one(value)?,
    }
    Ok(out)
}

fn expected_fault(value: &Value<'_>) -> Parsed<ExpectedFault> {
    let kind = |value: &Value<'_>| {
        let name = string(value)?;
        let unknown = format!("no fault `{name}`; there are {}", fault::names());
        fault::named(name).map_or_else(|| wrong(value, unknown), Ok)
    };
    if value.get_ref().is_str() {
        return Ok(ExpectedFault { kind: kind(value)?, message: String::new(), everywhere: false });
    }
    let mut fields = Fields::of(value, "`fault`")?;
    let kind = kind(fields.need("kind")?)?;
    let message = string(fields.need("message")?)?.to_string();
    let everywhere = flag(&mut fields, "everywhere")?;
    fields.finish()?;
    Ok(ExpectedFault { kind, message, everywhere })
}

fn arg(value: &Value<'_>) -> Parsed<Arg> {
    let fields = Fields::of(value, "an argument")?;
    if fields.has("buf") {
        return buffer(fields).map(Arg::Buffer);
    }
    if fields.has("sampler") {
        let mut fields = fields;
        let mut of = Fields::of(fields.need("sampler")?, "`sampler`")?;
        fields.finish()?;
        let (what, variable) = (sampler(&mut of)?, variable(&mut of)?);
        of.finish()?;
        return Ok(Arg::Sampler(Bound { what, variable }));
    }
    let mut entries = fields.table.iter();
    let (Some((key, content)), None) = (entries.next(), entries.next()) else {
        return wrong(value, "an argument is `{ TYPE = value }` or `{ buf = TYPE, ... }`");
    };
    let elem = element(key.get_ref(), key.span())?;
    let mut bytes = Vec::new();
    match content.get_ref() {
        DeValue::Array(all) => {
            all.iter().try_for_each(|one| bits(elem, one).map(|bits| elem.push(&mut bytes, bits)))?
        }
        _ => elem.push(&mut bytes, bits(elem, content)?),
    }
    Ok(Arg::Value(bytes))
}

fn element(name: &str, span: Range<usize>) -> Parsed<Elem> {
    let message = || format!("no element type `{name}`; there are {}", Elem::names());
    Elem::named(name).ok_or_else(|| Wrong { span, message: message() })
}

fn buffer(mut fields: Fields<'_, '_>) -> Parsed<Buffer> {
    let span = fields.span.clone();
    let name = fields.need("buf")?;
    let elem = element(string(name)?, name.span())?;
    let given = match fields.take("in") {
        None => Vec::new(),
        Some(value) => array(value)?.iter().map(|one| bits(elem, one)).collect::<Parsed<Vec<_>>>()?,
    };
    let fill = fields.take("fill").map(|value| pattern(elem, value)).transpose()?;
    let expected = fields.take("expect");
    let listed = expected.and_then(|value| value.get_ref().as_array()).map_or(0, |array| array.len());
    let len = match fields.take("len") {
        Some(value) => unsigned(value, MAX_ELEMENTS as u64)? as usize,
        None => given.len().max(listed),
    };
    let tolerance = fields.take("tolerance").map(|value| tolerance(elem, value)).transpose()?.unwrap_or_default();
    let view = match (fields.take("tex"), fields.take("surf")) {
        (None, None) => None,
        (Some(value), None) => Some(view(elem, len, value, true)?),
        (None, Some(value)) => Some(view(elem, len, value, false)?),
        (Some(value), Some(_)) => return wrong(value, "a buffer is seen as a texture or as a surface"),
    };
    fields.finish()?;
    let fail = |message: &str| Err(Wrong { span: span.clone(), message: message.into() });
    if len == 0 {
        return fail("the buffer is empty: give it `in`, `expect` or `len`");
    }
    if given.len() > len || listed > len {
        return fail("`in` or `expect` has more elements than `len`");
    }
    if fill.is_some() && given.len() == len {
        return fail("`fill` fills nothing: `in` gives every element");
    }

    let mut initial = Vec::new();
    given.iter().for_each(|&bits| elem.push(&mut initial, bits));
    match fill {
        Some(pattern) => pattern
            .bits(elem, given.len()..len)
            .map_err(|message| Wrong { span: span.clone(), message })?
            .iter()
            .for_each(|&bits| elem.push(&mut initial, bits)),
        None => initial.resize(len * elem.size(), POISON),
    }
    let expect = match expected {
        None => Expect::Unchanged,
        Some(value) => expect(elem, len, value)?,
    };
    match expect {
        Expect::Unchanged | Expect::Any if !tolerance.is_exact() => fail("a tolerance needs an `expect`"),
        Expect::Oracle if tolerance.is_exact() && len < MANY => fail(&format!(
            "`expect = \"oracle\"` needs a tolerance or at least {MANY} elements: literals keep the oracle honest"
        )),
        _ => Ok(Buffer { elem, len, initial, expect, tolerance, view }),
    }
}

/// A texture or surface over a buffer of so many elements, which are its channels.
fn view(elem: Elem, len: usize, value: &Value<'_>, is_texture: bool) -> Parsed<Bound<View>> {
    let mut fields = Fields::of(value, if is_texture { "`tex`" } else { "`surf`" })?;
    let channel = match elem {
        Elem::U8 => Channel::U8,
        Elem::S8 => Channel::S8,
        Elem::U16 => Channel::U16,
        Elem::S16 => Channel::S16,
        Elem::U32 => Channel::U32,
        Elem::S32 => Channel::S32,
        Elem::F16 => Channel::F16,
        Elem::F32 => Channel::F32,
        Elem::B8 | Elem::B16 | Elem::B32 | Elem::U64 | Elem::S64 | Elem::B64 | Elem::Bf16 | Elem::F64 => {
            return wrong(value, format!("no image has channels of {elem}"));
        }
    };
    let mut count = |key, high: u64| match fields.take(key) {
        None => Ok(1),
        Some(value) => match unsigned(value, high)? {
            0 => wrong(value, "at least one is needed"),
            n => Ok(n as u32),
        },
    };
    let channels = count("channels", 4)?;
    let extents = [count("width", 1 << 16)?, count("height", 1 << 16)?, count("depth", 1 << 16)?];
    let (layers, samples, levels) = (count("layers", 1 << 16)?, count("samples", 8)?, count("levels", 16)?);
    if channels == 3 {
        return wrong(value, "a texel has 1, 2 or 4 channels");
    }
    let (cube, linear) = (flag(&mut fields, "cube")?, flag(&mut fields, "linear")?);
    if cube && (extents[0] != extents[1] || !layers.is_multiple_of(6)) {
        return wrong(value, "a cube has six square faces");
    }
    let image = Image::packed(0, channel, channels as u8, extents, layers, samples, levels);
    let texture = if is_texture {
        let fractions = flag(&mut fields, "normalized_floats")?;
        Some((sampler(&mut fields)?, fractions))
    } else {
        None
    };
    let variable = variable(&mut fields)?;
    fields.finish()?;
    match image.packed_bytes() {
        bytes if bytes == (len * elem.size()) as u64 => {
            Ok(Bound { what: View { image, cube, linear, texture }, variable })
        }
        bytes => wrong(value, format!("the image has {bytes} bytes, the buffer {}", len * elem.size())),
    }
}

fn sampler(fields: &mut Fields<'_, '_>) -> Parsed<Sampler> {
    let filter = |value: &Value<'_>| match string(value)? {
        "nearest" => Ok(Filter::Nearest),
        "linear" => Ok(Filter::Linear),
        _ => wrong(value, "a filter is \"nearest\" or \"linear\""),
    };
    let address = |value: &Value<'_>| match string(value)? {
        "clamp" => Ok(AddressMode::Clamp),
        "border" => Ok(AddressMode::Border),
        "wrap" => Ok(AddressMode::Wrap),
        "mirror" => Ok(AddressMode::Mirror),
        _ => wrong(value, "an address mode is \"clamp\", \"border\", \"wrap\" or \"mirror\""),
    };
    let compare = |value: &Value<'_>| match string(value)? {
        "off" => Ok(Compare::Off),
        "never" => Ok(Compare::Never),
        "less" => Ok(Compare::Less),
        "equal" => Ok(Compare::Equal),
        "less-equal" => Ok(Compare::LessEqual),
        "greater" => Ok(Compare::Greater),
        "not-equal" => Ok(Compare::NotEqual),
        "greater-equal" => Ok(Compare::GreaterEqual),
        "always" => Ok(Compare::Always),
        _ => wrong(value, "no such comparison"),
    };
    let mut out = Sampler { normalized: flag(fields, "normalized")?, ..Sampler::default() };
    if let Some(value) = fields.take("address") {
        match value.get_ref() {
            DeValue::Array(modes) if modes.len() <= 3 => {
                for (mode, value) in out.address.iter_mut().zip(modes.iter()) {
                    *mode = address(value)?;
                }
            }
            DeValue::Array(_) => return wrong(value, "there are at most three dimensions"),
            _ => out.address = [address(value)?; 3],
        }
    }
    out.filter = fields.take("filter").map(filter).transpose()?.unwrap_or(out.filter);
    out.mip_filter = fields.take("mip_filter").map(filter).transpose()?.unwrap_or(out.mip_filter);
    out.compare = fields.take("compare").map(compare).transpose()?.unwrap_or(out.compare);
    out.level_bias = fields.take("level_bias").map(float).transpose()?.map_or(0.0, |bias| bias as f32);
    let mut floats = |key, places: &mut [f32]| match fields.take(key) {
        None => Ok(()),
        Some(value) => {
            let all = array(value)?;
            if all.len() != places.len() {
                return wrong(value, format!("{} numbers are expected", places.len()));
            }
            places.iter_mut().zip(all).try_for_each(|(place, value)| float(value).map(|v| *place = v as f32))
        }
    };
    floats("border", &mut out.border)?;
    floats("level_range", &mut out.level_range)?;
    Ok(out)
}

fn flag(fields: &mut Fields<'_, '_>, key: &'static str) -> Parsed<bool> {
    match fields.take(key) {
        None => Ok(false),
        Some(value) => value.get_ref().as_bool().map_or_else(|| wrong(value, "true or false is expected"), Ok),
    }
}

/// The variable of the module that a handle is written to.
fn variable(fields: &mut Fields<'_, '_>) -> Parsed<Option<String>> {
    fields.take("variable").map(|value| string(value).map(String::from)).transpose()
}

fn expect(elem: Elem, len: usize, value: &Value<'_>) -> Parsed<Expect> {
    Ok(match value.get_ref() {
        DeValue::String(name) => match name.as_ref() {
            "oracle" => Expect::Oracle,
            "any" => Expect::Any,
            "unchanged" => Expect::Unchanged,
            _ => return wrong(value, "`expect` is a list, a pattern, \"oracle\", \"any\" or \"unchanged\""),
        },
        DeValue::Array(all) => Expect::Elements(all.iter().map(|one| want(elem, one)).collect::<Parsed<_>>()?),
        _ => {
            let bits = pattern(elem, value)?.bits(elem, 0..len);
            let bits = bits.map_err(|message| Wrong { span: value.span(), message })?;
            Expect::Elements(bits.into_iter().map(Want::Bits).collect())
        }
    })
}

fn tolerance(elem: Elem, value: &Value<'_>) -> Parsed<Tolerance> {
    if !elem.is_float() {
        return wrong(value, format!("{elem} is compared exactly: a tolerance is for float types"));
    }
    let mut fields = Fields::of(value, "`tolerance`")?;
    let ulp = fields.take("ulp").map(|v| unsigned(v, 1 << 32)).transpose()?;
    let abs = fields.take("abs").map(float).transpose()?;
    fields.finish()?;
    if ulp.is_none() && abs.is_none() || abs.is_some_and(|abs| abs < 0.0) {
        return wrong(value, "`tolerance` has `ulp`, `abs` or both");
    }
    Ok(Tolerance { ulp, abs })
}

fn pattern(elem: Elem, value: &Value<'_>) -> Parsed<Pattern> {
    let mut fields = Fields::of(value, "a pattern")?;
    let pattern = if let Some(all) = fields.take("all") {
        Pattern::All(bits(elem, all)?)
    } else if let Some(start) = fields.take("iota") {
        let step = fields.take("step").map(float).transpose()?.unwrap_or(1.0);
        Pattern::Iota { start: float(start)?, step }
    } else if let Some(seed) = fields.take("random") {
        let seed = unsigned(seed, u64::MAX)?;
        if let Some(kind) = fields.take("kind") {
            match string(kind)? {
                "bits" => Pattern::Bits { seed },
                "edges" => Pattern::Edges { seed },
                _ => return wrong(kind, "`kind` is \"bits\" or \"edges\""),
            }
        } else {
            let (from, to) = (float(fields.need("from")?)?, float(fields.need("to")?)?);
            Pattern::Between { seed, from, to }
        }
    } else {
        return wrong(value, "a pattern has `all`, `iota` or `random`");
    };
    fields.finish()?;
    Ok(pattern)
}

/// The bits of an input literal.
fn bits(elem: Elem, value: &Value<'_>) -> Parsed<u64> {
    match want(elem, value)? {
        Want::Bits(bits) => Ok(bits),
        Want::AnyNan | Want::Any => wrong(value, "an input is one value"),
    }
}

/// A literal: a number, a bit pattern in hexadecimal (bare or as a string), "nan", "inf", "-inf", "-0.0"; where a value
/// is expected also "any-nan" and "any".
fn want(elem: Elem, value: &Value<'_>) -> Parsed<Want> {
    let too_big = || format!("{elem} cannot hold this value");
    let nan = || {
        let unclear = format!("`nan` is not one value of {elem}: write its bits in hexadecimal, or \"any-nan\"");
        elem.canonical_nan().map_or_else(|| wrong(value, unclear), |bits| Ok(Want::Bits(bits)))
    };
    let pattern = |digits: &str, radix: u32| {
        let bits = u128::from_str_radix(digits, radix).ok().and_then(|bits| elem.from_pattern(bits));
        bits.map_or_else(|| wrong(value, format!("no bit pattern of {elem}")), |bits| Ok(Want::Bits(bits)))
    };
    let decimal = |text: &str| {
        // Floats do not go through integers: `-0` has a sign there.
        let integer = text.parse().ok().and_then(|number| elem.from_integer(number));
        let bits = integer.or_else(|| elem.from_decimal(text));
        bits.map_or_else(|| wrong(value, too_big()), |bits| Ok(Want::Bits(bits)))
    };
    match value.get_ref() {
        DeValue::Integer(i) if i.radix() == 10 => decimal(i.as_str()),
        DeValue::Integer(i) => pattern(i.as_str(), i.radix()),
        DeValue::Float(f) if f.as_str().contains("nan") => nan(),
        DeValue::Float(f) => decimal(f.as_str()),
        DeValue::String(text) => match text.as_ref() {
            "any" => Ok(Want::Any),
            "any-nan" if elem.is_float() => Ok(Want::AnyNan),
            "nan" => nan(),
            text => match text.strip_prefix("0x") {
                Some(digits) => pattern(&digits.replace('_', ""), 16),
                None => decimal(text),
            },
        },
        other => wrong(value, format!("a value of {elem} is expected here, not {}", other.type_str())),
    }
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
