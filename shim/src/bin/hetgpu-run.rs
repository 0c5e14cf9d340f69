//! Runs one kernel from the command line, with buffers as arguments or files.
#![forbid(unsafe_code)]

use cuda::registry;
use hetgpu_runtime::log::{self, Level};
use hetgpu_runtime::{
    Check, Code, Error, ImageSource, KernelInfo, LaunchRequest, Launchable, Runtime, Settings, StreamRef, check,
    cluster_of, dynamic_shared_limit,
};
use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::process::ExitCode;

const USAGE: &str = "\
hetgpu-run FILE [OPTION]... [ARGUMENT]...
Runs a kernel of FILE (PTX text, a fatbin, or a program that holds one) and prints the buffers that it was given.

  --kernel NAME      which kernel; not needed where there is only one
  --grid X[,Y[,Z]]   blocks (1)
  --block X[,Y[,Z]]  threads a block (1)
  --cluster X[,Y[,Z]]
                     blocks a cluster (1, or what the kernel requires)
  --shared BYTES     dynamic shared memory
  --cooperative      blocks may wait for each other
  --check            report races and reads of memory that nothing has written
  --seed N           order of threads that may run in any order
  --show N           most elements printed of a buffer (64)
  --list             print the kernels and their parameters, and run nothing

Arguments, in the order of the kernel's parameters:
  TYPE:VALUE             a number: u8 u16 u32 u64, s8 to s64, f32 f64; 0x for bits
  buf:TYPE:V,V,...       a buffer with these elements
  buf:TYPE:len=N         a buffer of N zeros; len=N,fill=V for another value
  file:PATH[:rw]         a buffer with the bytes of a file; rw: written back after the run
  bytes:HEX              a parameter by its bytes, for structures

Exit status: 0 if the kernel ran, 1 if it failed, 2 if it could not be started, 3 if --check found something.";

/// Why there is no result, and the exit status for it.
struct Stop {
    status: u8,
    text: String,
}

/// Prints a line; nobody need be there to read it, as where `head` has had enough.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The kernel failed. Where the log has said why, it is not said again.
fn failed(error: &Error) -> Stop {
    let text = if log::enabled(Level::Error) { "the kernel failed".to_owned() } else { error.to_string() };
    Stop { status: 1, text }
}

/// The kernel could not be started.
fn refused(text: impl Into<String>) -> Stop {
    Stop { status: 2, text: text.into() }
}

fn refused_by(error: Error) -> Stop {
    refused(error.to_string())
}

/// A type of elements and numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Type {
    Unsigned(usize),
    Signed(usize),
    Float(usize),
}

impl Type {
    fn parse(name: &str) -> Option<Self> {
        let (kind, bits) = name.split_at_checked(1)?;
        let bytes = match bits {
            "8" => 1,
            "16" => 2,
            "32" => 4,
            "64" => 8,
            _ => return None,
        };
        match kind {
            "u" | "b" => Some(Self::Unsigned(bytes)),
            "s" | "i" => Some(Self::Signed(bytes)),
            "f" if bytes >= 4 => Some(Self::Float(bytes)),
            _ => None,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Unsigned(bytes) | Self::Signed(bytes) | Self::Float(bytes) => bytes,
        }
    }

    /// The bytes of a number.
    fn encode(self, text: &str) -> Result<Vec<u8>, String> {
        let text = text.trim();
        let bytes = self.bytes();
        let wrong = || format!("'{text}' is not a number of this type");
        let bits = 8 * bytes as u32;
        let fits = |value: i128| match self {
            Self::Signed(_) => value >= -(1 << (bits - 1)) && value < 1 << (bits - 1),
            Self::Unsigned(_) | Self::Float(_) => value >= 0 && value < 1 << bits,
        };
        let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
        let value: i128 = match (hex, self) {
            (Some(digits), _) => {
                let value = i128::from_str_radix(digits, 16).map_err(|_| wrong())?;
                let is_pattern = value >= 0 && value < 1 << bits;
                return if is_pattern { Ok(value.to_le_bytes()[..bytes].to_vec()) } else { Err(wrong()) };
            }
            (None, Self::Float(4)) => text.parse::<f32>().map_err(|_| wrong())?.to_bits().into(),
            (None, Self::Float(_)) => text.parse::<f64>().map_err(|_| wrong())?.to_bits().into(),
            (None, _) => text.parse().map_err(|_| wrong())?,
        };
        if fits(value) { Ok(value.to_le_bytes()[..bytes].to_vec()) } else { Err(wrong()) }
    }

    fn decode(self, bytes: &[u8]) -> String {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        let value = u64::from_le_bytes(wide);
        match self {
            Self::Unsigned(_) => value.to_string(),
            Self::Signed(size) => {
                let unused = 64 - 8 * size as u32;
                (((value << unused) as i64) >> unused).to_string()
            }
            Self::Float(4) => format!("{:?}", f32::from_bits(value as u32)),
            Self::Float(_) => format!("{:?}", f64::from_bits(value)),
        }
    }
}

/// An argument as given.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Argument {
    Value(Vec<u8>),
    Buffer { ty: Type, data: Vec<u8> },
    File { path: String, write_back: bool },
}

impl Argument {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("argument '{text}': {why}");
        let (kind, rest) = text.split_once(':').ok_or_else(|| wrong("no type before a colon"))?;
        match kind {
            "buf" => {
                let (ty, contents) = rest.split_once(':').ok_or_else(|| wrong("buf:TYPE:CONTENTS"))?;
                let ty = Type::parse(ty).ok_or_else(|| wrong("no such type"))?;
                Ok(Self::Buffer { ty, data: contents_of(ty, contents).map_err(|why| wrong(&why))? })
            }
            "file" => {
                let (path, write_back) = rest.strip_suffix(":rw").map_or((rest, false), |path| (path, true));
                Ok(Self::File { path: path.to_owned(), write_back })
            }
            "bytes" => {
                let digits: String = rest.split_whitespace().collect();
                let pair = |at| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
                let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(pair).collect();
                bytes.map(Self::Value).ok_or_else(|| wrong("pairs of hexadecimal digits are wanted"))
            }
            name => {
                let ty = Type::parse(name).ok_or_else(|| wrong("no such type"))?;
                Ok(Self::Value(ty.encode(rest).map_err(|why| wrong(&why))?))
            }
        }
    }
}

fn contents_of(ty: Type, contents: &str) -> Result<Vec<u8>, String> {
    const MOST_BYTES: u64 = 1 << 36;
    let Some(rest) = contents.strip_prefix("len=") else {
        return contents.split(',').map(|value| ty.encode(value)).collect::<Result<Vec<_>, _>>().map(|v| v.concat());
    };
    let (count, fill) = rest.split_once(",fill=").unwrap_or((rest, "0"));
    let count: u64 = count.parse().map_err(|_| format!("'{count}' is not a length"))?;
    match count.checked_mul(ty.bytes() as u64) {
        Some(bytes) if bytes <= MOST_BYTES => Ok(ty.encode(fill)?.repeat(count as usize)),
        _ => Err(format!("{count} elements are too many")),
    }
}

/// The command line.
#[derive(Debug)]
struct Request {
    file: String,
    kernel: Option<String>,
    grid: [u32; 3],
    block: [u32; 3],
    cluster: [u32; 3],
    shared: u32,
    cooperative: bool,
    check: bool,
    seed: Option<u64>,
    show: usize,
    list: bool,
    arguments: Vec<Argument>,
}

fn three(text: &str) -> Option<[u32; 3]> {
    let mut out = [1; 3];
    let parts: Vec<u32> = text.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
    out.get_mut(..parts.len())?.copy_from_slice(&parts);
    Some(out)
}

impl Request {
    fn parse(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut request = Self {
            file: String::new(),
            kernel: None,
            grid: [1; 3],
            block: [1; 3],
            cluster: [1; 3],
            shared: 0,
            cooperative: false,
            check: false,
            seed: None,
            show: 64,
            list: false,
            arguments: Vec::new(),
        };
        let mut words = words;
        while let Some(word) = words.next() {
            let mut value = |option: &str| words.next().ok_or(format!("{option} wants a value"));
            let number = |option: &str, text: String| text.parse::<u64>().map_err(|_| format!("{option}: '{text}'"));
            let size = |option: &str, text: String| three(&text).ok_or(format!("{option}: '{text}' is not X,Y,Z"));
            match word.as_str() {
                "--kernel" => request.kernel = Some(value("--kernel")?),
                "--grid" => request.grid = size("--grid", value("--grid")?)?,
                "--block" => request.block = size("--block", value("--block")?)?,
                "--cluster" => request.cluster = size("--cluster", value("--cluster")?)?,
                "--shared" => {
                    let bytes = number("--shared", value("--shared")?)?;
                    request.shared = u32::try_from(bytes).map_err(|_| format!("--shared: {bytes} is too much"))?;
                }
                "--cooperative" => request.cooperative = true,
                "--check" => request.check = true,
                "--seed" => request.seed = Some(number("--seed", value("--seed")?)?),
                "--show" => request.show = number("--show", value("--show")?)? as usize,
                "--list" => request.list = true,
                option if option.starts_with("--") => return Err(format!("no option {option}")),
                file if request.file.is_empty() => request.file = file.to_owned(),
                argument => request.arguments.push(Argument::parse(argument)?),
            }
        }
        if request.file.is_empty() { Err("no file".to_owned()) } else { Ok(request) }
    }
}

/// A buffer on the device.
struct Placed {
    /// Which argument it is.
    argument: usize,
    address: u64,
    bytes: u64,
}

impl Placed {
    fn new(runtime: &Runtime, argument: usize, name: &str, data: Vec<u8>) -> Result<Self, Error> {
        let bytes = data.len() as u64;
        let address = runtime.allocate_named(bytes.max(1), name)?;
        if bytes > 0 {
            runtime.write(address, data)?;
        }
        Ok(Self { argument, address, bytes })
    }
}

fn describe(kernel: &KernelInfo) -> String {
    let params: Vec<_> = kernel.params.iter().map(|param| format!("{}: {} bytes", param.name, param.size)).collect();
    let mut text = format!("{}({})", kernel.name.to_string_lossy(), params.join(", "));
    if kernel.static_shared > 0 {
        let _ = write!(text, ", {} bytes of shared memory", kernel.static_shared);
    }
    if kernel.refused.is_some() {
        text.push_str(", cannot be launched");
    }
    text
}

fn choose(code: &Code, wanted: Option<&str>) -> Result<usize, Stop> {
    let known = || code.kernels.iter().map(describe).collect::<Vec<_>>().join("\n  ");
    match (wanted, code.kernels.len()) {
        (Some(name), _) => {
            code.kernel(name).map_err(|_| refused(format!("no kernel {name}; there are\n  {}", known())))
        }
        (None, 0) => Err(refused("the file has no kernel")),
        (None, 1) => Ok(0),
        (None, _) => Err(refused(format!("--kernel must choose one of\n  {}", known()))),
    }
}

fn run(request: Request) -> Result<u8, Stop> {
    let mut settings = Settings::from_environment();
    if request.check {
        settings.check = Check::All;
    }
    settings.seed = request.seed.unwrap_or(settings.seed);
    let runtime =
        Runtime::new(settings.clone(), registry::devices(&settings).map_err(|repeated| refused(repeated.to_string()))?);
    let device = runtime.device(0).map_err(refused_by)?.device.clone();
    let bytes = std::fs::read(&request.file).map_err(|error| refused(format!("{}: {error}", request.file)))?;
    let code = Code::load(ImageSource::Bytes(&bytes), &request.file, device.caps().compute).map_err(refused_by)?;
    if request.list {
        for kernel in &code.kernels {
            say(describe(kernel));
            kernel.refused.as_deref().into_iter().flat_map(str::lines).for_each(say);
        }
        return Ok(0);
    }
    let index = choose(&code, request.kernel.as_deref())?;
    let kernel = &code.kernels[index];
    if request.arguments.len() != kernel.params.len() {
        let (given, wanted) = (request.arguments.len(), kernel.params.len());
        return Err(refused(format!("{given} arguments, {wanted} wanted: {}", describe(kernel))));
    }

    let context = runtime.retain_primary(0).map_err(refused_by)?;
    runtime.set_current(Some(context)).map_err(refused_by)?;
    let module = runtime.load_module(&code).map_err(refused_by)?;
    let name = kernel.name.to_string_lossy();
    let function = runtime.function(module, &name).map_err(refused_by)?;

    let mut params = vec![0; kernel.param_bytes as usize];
    let mut placed = Vec::new();
    for (argument, param) in kernel.params.iter().enumerate() {
        let data = match &request.arguments[argument] {
            Argument::Value(_) => None,
            Argument::Buffer { data, .. } => Some(data.clone()),
            Argument::File { path, .. } => {
                Some(std::fs::read(path).map_err(|error| refused(format!("{path}: {error}")))?)
            }
        };
        let bytes = match (data, &request.arguments[argument]) {
            (None, Argument::Value(bytes)) => bytes.clone(),
            (data, _) => {
                let buffer = Placed::new(&runtime, argument, &param.name, data.unwrap_or_default());
                let buffer = buffer.map_err(refused_by)?;
                let address = buffer.address.to_le_bytes().to_vec();
                placed.push(buffer);
                address
            }
        };
        if bytes.len() != param.size as usize {
            let (given, name, size) = (bytes.len(), &param.name, param.size);
            return Err(refused(format!("argument {}: {given} bytes, but {name} takes {size}", argument + 1)));
        }
        params[param.offset as usize..][..bytes.len()].copy_from_slice(&bytes);
    }

    let function_object = runtime.functions.get(function).map_err(refused_by)?;
    let launch = LaunchRequest {
        grid: request.grid,
        block: request.block,
        cluster: cluster_of(kernel, function_object.settings(), request.cluster),
        dynamic_shared: request.shared,
        cooperative: request.cooperative,
        params: params.into(),
        attributes: Default::default(),
    };
    let usual = dynamic_shared_limit(device.caps(), kernel, function_object.settings());
    if request.shared > usual && request.shared <= device.caps().shared_per_block_max - kernel.static_shared {
        function_object.change_settings(|settings| settings.max_dynamic_shared = Some(request.shared));
    }
    function_object.change_settings(|settings| settings.large_clusters = true);
    let multiprocessors = device.caps().multiprocessors;
    check(device.caps(), kernel, function_object.settings(), &launch, multiprocessors).map_err(refused_by)?;
    runtime.launch(Launchable::Function(function), StreamRef::Default, launch).map_err(refused_by)?;
    let session = runtime.session().map_err(|error| failed(&error))?;
    session.synchronise().map_err(|error| failed(&error))?;

    for Placed { argument, address, bytes } in placed {
        let data = if bytes > 0 { runtime.read(address, bytes).map_err(|error| failed(&error))? } else { Vec::new() };
        match &request.arguments[argument] {
            Argument::Buffer { ty, .. } => say(format_args!("{}: {}", argument + 1, show(*ty, &data, request.show))),
            Argument::File { path, write_back: true } => {
                std::fs::write(path, &data).map_err(|error| refused(format!("{path}: {error}")))?;
            }
            Argument::File { .. } | Argument::Value(_) => {}
        }
    }
    Ok(if session.noticed() > 0 { 3 } else { 0 })
}

fn show(ty: Type, data: &[u8], most: usize) -> String {
    let elements = data.chunks_exact(ty.bytes());
    let count = elements.len();
    let shown: Vec<_> = elements.take(most).map(|bytes| ty.decode(bytes)).collect();
    let rest = if count > most { format!(" ... {} more", count - most) } else { String::new() };
    format!("{}{rest}", shown.join(" "))
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.is_empty() || words.iter().any(|word| word == "--help" || word == "-h") {
        say(USAGE);
        return ExitCode::from(if words.is_empty() { 2 } else { 0 });
    }
    let outcome = Request::parse(words.into_iter()).map_err(refused).and_then(run);
    let status = match outcome {
        Ok(status) => status,
        Err(Stop { status, text }) => {
            eprintln!("hetgpu-run: {text}");
            status
        }
    };
    let _ = std::io::stdout().flush();
    ExitCode::from(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_type() {
        let encode = |ty, text| Type::parse(ty).unwrap().encode(text);
        assert_eq!(encode("u8", "255").unwrap(), [255]);
        assert_eq!(encode("s16", "-2").unwrap(), [0xfe, 0xff]);
        assert_eq!(encode("u32", "0xdeadbeef").unwrap(), [0xef, 0xbe, 0xad, 0xde]);
        assert_eq!(encode("s32", "0xffffffff").unwrap(), [255; 4]);
        assert_eq!(encode("f32", "1.5").unwrap(), 1.5f32.to_le_bytes());
        assert_eq!(encode("f32", "0x7fc00000").unwrap(), 0x7fc0_0000u32.to_le_bytes());
        assert_eq!(encode("f64", "-0.0").unwrap(), (-0.0f64).to_le_bytes());
        assert_eq!(encode("u64", "18446744073709551615").unwrap(), [255; 8]);
        for (ty, text) in [("u8", "256"), ("u8", "-1"), ("s8", "128"), ("u32", "1.5"), ("u16", "0x10000"), ("f32", "x")]
        {
            assert!(encode(ty, text).is_err(), "{ty} {text}");
        }
        assert_eq!(Type::parse("f16"), None);
        assert_eq!(Type::parse("u"), None);
    }

    #[test]
    fn what_is_encoded_reads_back() {
        for (ty, text) in
            [("s8", "-128"), ("u16", "65535"), ("s64", "-9223372036854775808"), ("f32", "0.1"), ("f64", "-1e300")]
        {
            let ty = Type::parse(ty).unwrap();
            assert_eq!(ty.decode(&ty.encode(text).unwrap()), text);
        }
    }

    #[test]
    fn arguments() {
        let u32s = Type::Unsigned(4);
        assert_eq!(Argument::parse("u32:5"), Ok(Argument::Value(vec![5, 0, 0, 0])));
        let buffer = Argument::Buffer { ty: u32s, data: vec![1, 0, 0, 0, 2, 0, 0, 0] };
        assert_eq!(Argument::parse("buf:u32:1,2"), Ok(buffer));
        let filled = Argument::Buffer { ty: Type::Unsigned(1), data: vec![7; 3] };
        assert_eq!(Argument::parse("buf:u8:len=3,fill=7"), Ok(filled));
        assert_eq!(Argument::parse("bytes:01ff"), Ok(Argument::Value(vec![1, 255])));
        let file = Argument::File { path: "a:b".into(), write_back: true };
        assert_eq!(Argument::parse("file:a:b:rw"), Ok(file));
        for wrong in ["5", "u32:", "buf:u32", "buf:u32:1,,2", "buf:u32:len=99999999999999999999", "bytes:0", "u7:1"] {
            assert!(Argument::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_command_line() {
        let words = |text: &str| Request::parse(text.split(' ').map(String::from));
        let request = words("k.ptx --grid 2,3 --block 4 --cluster 2 --shared 100 --check u32:1").unwrap();
        assert_eq!((request.grid, request.block, request.cluster), ([2, 3, 1], [4, 1, 1], [2, 1, 1]));
        assert_eq!(request.shared, 100);
        assert!(request.check && request.kernel.is_none() && request.arguments.len() == 1);
        for wrong in ["--grid 1", "k.ptx --grid 1,2,3,4", "k.ptx --grid", "k.ptx --bogus", "k.ptx --shared -1"] {
            assert!(words(wrong).is_err(), "{wrong}");
        }
    }
}
