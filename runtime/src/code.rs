//! Device code: from an image to verified hetIR.

use crate::{Error, Result, dump, lifted, log, sys};
use hetir::diag::{self, Diagnostic, Severity};
use hetir::entity::FuncId;
use hetir::interp::SharedLayout;
use hetir::ir::{Function, KernelParam, LaunchBounds, MachineCode, Module};
use ptx_frontend::container::{
    self, Choice, Cubin, CubinKernel, HostFatbins, HostMemory, HostModule, Image, Kind, Limits,
};
use ptx_frontend::join;
use std::borrow::Cow;
use std::ffi::CString;
use std::sync::Arc;

/// What messages call a text that has no file.
pub const UNNAMED: &str = "module.ptx";

/// A parameter of a kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Param {
    pub name: String,
    /// Where it lies in the packed parameters.
    pub offset: u32,
    pub size: u32,
}

/// A kernel of a module.
#[derive(Clone, Debug)]
pub struct KernelInfo {
    pub function: FuncId,
    pub name: CString,
    pub params: Vec<Param>,
    /// Bytes of all parameters.
    pub param_bytes: u32,
    /// Most threads a block, in all and by dimension; 0 where the kernel does not say.
    pub max_threads: u32,
    /// Exact threads a block, by dimension; 0 where the kernel does not say.
    pub required_threads: [u32; 3],
    /// Exact blocks a cluster, by dimension; 0 where the kernel does not say.
    pub required_cluster: [u32; 3],
    /// Most blocks a cluster; 0 where the kernel does not say.
    pub max_cluster: u32,
    /// It is always launched in clusters.
    pub explicit_cluster: bool,
    /// Shared memory that every block needs.
    pub static_shared: u32,
    /// Bytes of local memory of the kernel itself.
    pub local: u32,
    /// Why it cannot be launched, for a person.
    pub refused: Option<String>,
}

/// Where a kernel can stop in the middle of its blocks, for a person.
#[derive(Clone, Debug, Default)]
pub struct Stops {
    /// The threads a block that this holds for.
    pub block: [u32; 3],
    pub sites: Vec<Stop>,
    /// Places without a site: line in the PTX, why, and whether the kernel has no sites at all for that.
    pub refusals: Vec<(usize, String, bool)>,
    /// Bytes that are stored of a thread, local memory among them.
    pub frame_bytes: u32,
}

/// A place where threads can stop.
#[derive(Clone, Debug)]
pub struct Stop {
    pub kind: &'static str,
    /// Line in the PTX; 0 where it is not known.
    pub line: usize,
    /// Values that are stored of each thread, and their bytes.
    pub saved: usize,
    pub saved_bytes: u32,
    /// Values that are computed again.
    pub computed: usize,
}

/// Device code, ready to be loaded into a context.
#[derive(Debug)]
pub struct Code {
    pub module: Arc<Module>,
    pub kernels: Vec<KernelInfo>,
    /// What there is to say about it that is no error.
    pub warnings: String,
    /// Bytes of constant memory.
    pub constant: u32,
    /// Its kernels may allocate memory.
    pub(crate) allocates: bool,
    /// The compute capability that the text was written for, times ten.
    pub target: u32,
    /// What messages call the text.
    name: String,
    text: String,
}

/// Where an image is.
#[derive(Clone, Copy, Debug)]
pub enum ImageSource<'a> {
    /// At an address of the program: a wrapper, a fatbin, an ELF file, or text ended by a zero byte.
    Address(u64),
    /// The contents of a file.
    Bytes(&'a [u8]),
}

struct Program;

impl HostMemory for Program {
    fn read(&self, address: u64, len: usize) -> std::result::Result<Cow<'_, [u8]>, Diagnostic> {
        let mut bytes = vec![0; len];
        sys::read(address, &mut bytes);
        Ok(Cow::Owned(bytes))
    }
}

fn damaged(diagnostic: &Diagnostic) -> Error {
    Error::InvalidImage(plain(diagnostic))
}

/// A diagnostic of a binary image: its spans are of no use to a reader.
pub(crate) fn plain(diagnostic: &Diagnostic) -> String {
    let notes: String = diagnostic.notes.iter().map(|note| format!("\n  {note}")).collect();
    format!("{}{notes}", diagnostic.message)
}

impl Code {
    /// Where a kernel can stop when it is launched in blocks of that shape; none that cannot be launched.
    pub fn stops(&self, kernel: &KernelInfo, block: [u32; 3]) -> Option<Stops> {
        let plan = hetir::passes::suspend::Plan::of(&self.module, kernel.function, block)?;
        let line = |span: hetir::diag::Span| match span == hetir::diag::Span::default() {
            true => 0,
            false => diag::line_column(&self.text, span.start).0,
        };
        let sites = plan.sites.iter().map(|site| Stop {
            kind: site.kind.name(),
            line: line(site.span),
            saved: site.saved.len(),
            saved_bytes: site.saved.iter().map(|saved| saved.ty.bytes()).sum(),
            computed: site.computed,
        });
        Some(Stops {
            block,
            sites: sites.collect(),
            refusals: plan.refusals.iter().map(|r| (line(r.span), r.why.clone(), r.whole)).collect(),
            frame_bytes: plan.frame_bytes,
        })
    }
    /// Takes the code for a device of that compute capability out of an image, which messages call `name`.
    pub fn load(source: ImageSource<'_>, name: &str, compute: (u32, u32)) -> Result<Arc<Self>> {
        Self::load_for(source, name, compute, None)
    }

    /// The same for a device that also runs machine code as it is, for a compute capability times ten: where there is no PTX that it could
    /// be translated from.
    pub fn load_for(
        source: ImageSource<'_>,
        name: &str,
        compute: (u32, u32),
        machine: Option<u32>,
    ) -> Result<Arc<Self>> {
        let loaded = Self::read(source).and_then(|found| {
            let as_it_is = || machine.and_then(|sm| machine_code(&found, sm)).map(Self::from_machine_code);
            let lifted = Self::choose(&found, compute, machine.is_none()).and_then(|text| {
                if dump::wanted() {
                    // All forms are named by the text that is lifted.
                    dump::save(&ptx_frontend::builtin::complete(text.clone()), "image", || whole(found.clone()));
                }
                Self::from_text(text, name)
            });
            match lifted {
                Ok(code) => Ok(code),
                Err(why) => match as_it_is() {
                    Some(code) => {
                        log::info(format_args!("machine code is run as it is, since {why}"));
                        code
                    }
                    // Then as well as it goes.
                    None if machine.is_some() && matches!(why, Error::NoBinary(_)) => {
                        Self::from_text(Self::choose(&found, compute, true)?, name)
                    }
                    None => Err(why),
                },
            }
        });
        loaded.inspect_err(|error| {
            // Programs seldom pass this hint on.
            if let Error::NoBinary(text) = error {
                log::error(format_args!("{text}"));
            }
        })
    }

    /// The PTX text of an image that suits a device of that compute capability.
    pub(crate) fn find(source: ImageSource<'_>, compute: (u32, u32)) -> Result<String> {
        Self::choose(&Self::read(source)?, compute, true)
    }

    fn read(source: ImageSource<'_>) -> Result<HostModule> {
        match source {
            ImageSource::Address(address) => {
                container::read_module(&Program, address, &Limits::default()).map_err(|d| damaged(&d))
            }
            ImageSource::Bytes(bytes) => match container::sniff(bytes) {
                Kind::Fatbin => Ok(HostModule::Fatbin(bytes.to_vec())),
                Kind::Elf => Ok(HostModule::Elf(bytes.to_vec())),
                Kind::Ptx => Ok(HostModule::Text(bytes.to_vec())),
                Kind::Wrapper | Kind::Unknown => {
                    Err(Error::InvalidImage("neither a fatbin, nor an ELF file, nor PTX text".into()))
                }
            },
        }
    }

    /// The text for a device; `later`: one for later devices, where there is no other.
    fn choose(found: &HostModule, compute: (u32, u32), later: bool) -> Result<String> {
        let wanted = Wanted { sm: compute.0 * 10 + compute.1, later, limits: Limits::default() };
        match found {
            HostModule::Text(bytes) => text(bytes),
            HostModule::Fatbin(bytes) => wanted.in_fatbins(&[bytes]),
            HostModule::Wrapper(HostFatbins { data, prelinked }) => match wanted.in_fatbins(&[data]) {
                Err(Error::NoBinary(_)) if !prelinked.is_empty() => {
                    wanted.in_fatbins(&prelinked.iter().map(Vec::as_slice).collect::<Vec<_>>())
                }
                other => other,
            },
            HostModule::Elf(bytes) => wanted.in_elf(bytes),
        }
    }

    /// Takes a cubin, which stays what it is.
    fn from_machine_code(found: Result<(Vec<u8>, String)>) -> Result<Arc<Self>> {
        let (image, target) = found?;
        let elf = container::Elf::parse(&image).map_err(|diagnostic| damaged(&diagnostic))?;
        let Cubin { kernels, variables } = Cubin::read(&elf).map_err(|diagnostic| damaged(&diagnostic))?;
        let sm = elf.sm().unwrap_or(0);
        let mut module = Module::default();
        let mut infos = Vec::with_capacity(kernels.len());
        for CubinKernel { name, params, max_threads, required_threads, required_cluster, static_shared } in kernels {
            let params = params.iter().enumerate().map(|(number, &(offset, size))| KernelParam {
                name: format!("param_{number}"),
                offset,
                size,
                align: 1,
                opaque: None,
            });
            let bounds = LaunchBounds { max_threads, required_threads, required_cluster, ..LaunchBounds::default() };
            let kind = hetir::ir::FunctionKind::Kernel { params: params.collect(), bounds };
            let function = Function::new(name, kind);
            let info = kernel(&module, FuncId::new(module.functions.len()), &function, UNNAMED, "")?;
            infos.push(KernelInfo { static_shared, refused: None, ..info });
            module.functions.push(function);
        }
        log::info(format_args!("module: {} kernels as machine code for {target}", infos.len()));
        module.machine = Some(Arc::new(MachineCode { image, target, variables }));
        Ok(Arc::new(Self {
            module: Arc::new(module),
            kernels: infos,
            warnings: String::new(),
            constant: 0,
            // The driver has a heap for it.
            allocates: false,
            target: sm,
            name: UNNAMED.into(),
            text: String::new(),
        }))
    }

    /// Takes PTX text.
    pub fn from_text(text: String, name: &str) -> Result<Arc<Self>> {
        let text = ptx_frontend::builtin::complete(text);
        dump::save(&text, "ptx", || text.clone().into_bytes());
        let (module, diagnostics) = lifted::lift(&text);
        let (errors, others): (Vec<_>, Vec<_>) =
            diagnostics.into_iter().partition(|diagnostic| diagnostic.severity == Severity::Error);
        if !errors.is_empty() {
            return Err(Error::InvalidCode(diag::render(&errors, name, &text)));
        }
        let warnings = diag::render(&others, name, &text);
        dump::save(&text, "het", || hetir::text::print(&module).into_bytes());
        let kernels = module
            .functions
            .iter()
            .enumerate()
            .filter(|(_, function)| function.is_kernel())
            .map(|(index, function)| kernel(&module, FuncId::new(index), function, name, &text))
            .collect::<Result<Vec<_>>>()?;
        usable(&module, name, &text)?;
        let constants = module.globals.iter().filter(|global| global.space == hetir::attr::Space::Const);
        let constant = constants.map(|global| global.size).sum::<u64>().try_into().unwrap_or(u32::MAX);
        log::info(format_args!("module: {} kernels, {} variables", kernels.len(), module.globals.len()));
        if !warnings.is_empty() {
            log::info(format_args!("{warnings}"));
        }
        let target = join::target(&text);
        let allocates = module.function("malloc").is_some();
        let (module, name) = (Arc::new(module), name.into());
        Ok(Arc::new(Self { module, kernels, warnings, constant, allocates, target, name, text }))
    }

    /// The kernel of that name.
    pub fn kernel(&self, name: &str) -> Result<usize> {
        let found = self.kernels.iter().position(|kernel| kernel.name.as_bytes() == name.as_bytes());
        found.ok_or_else(|| Error::NotFound(format!("no kernel named {name}")))
    }

    /// A message with the line of the text that it speaks of.
    pub fn render(&self, diagnostic: &Diagnostic) -> String {
        diag::render(std::slice::from_ref(diagnostic), &self.name, &self.text).trim_end().to_owned()
    }
}

/// A module's bytes as the program holds them; parts of a program one behind the other.
fn whole(found: HostModule) -> Vec<u8> {
    match found {
        HostModule::Text(bytes) | HostModule::Fatbin(bytes) | HostModule::Elf(bytes) => bytes,
        HostModule::Wrapper(HostFatbins { data, prelinked }) => [vec![data], prelinked].concat().concat(),
    }
}

/// Fails where a function was refused because its text is wrong, or where every kernel was refused. One function that
/// cannot be lifted is no reason to refuse the others.
fn usable(module: &Module, name: &str, text: &str) -> Result<()> {
    const LIFT_ALONE: [&str; 2] = ["ptx::lift", "ptx::instruction"];
    let reasons = || module.functions.iter().flat_map(|function| &function.unavailable);
    let mut kernels = module.functions.iter().filter(|function| function.is_kernel()).peekable();
    let none_left = kernels.peek().is_some() && kernels.all(|kernel| !kernel.unavailable.is_empty());
    let decisive: Vec<Diagnostic> =
        reasons().filter(|reason| none_left || !LIFT_ALONE.contains(&reason.code)).cloned().collect();
    match decisive.is_empty() {
        true => Ok(()),
        false => Err(Error::InvalidCode(diag::render(&decisive, name, text))),
    }
}

fn kernel(module: &Module, id: FuncId, function: &Function, file: &str, text: &str) -> Result<KernelInfo> {
    let name = CString::new(function.name.as_str());
    let name = name.map_err(|_| Error::InvalidCode("a kernel's name holds a zero byte".into()))?;
    let bounds = match &function.kind {
        hetir::ir::FunctionKind::Kernel { bounds, .. } => bounds.clone(),
        hetir::ir::FunctionKind::Device => LaunchBounds::default(),
    };
    let refused = match (&function.body, &function.unavailable[..]) {
        (Some(_), []) => None,
        (None, []) => Some(format!("the kernel {} has no body", function.name)),
        (_, reasons) => Some(diag::render(reasons, file, text)),
    };
    let params = function.kernel_params().iter();
    let params = params.map(|p| Param { name: p.name.clone(), offset: p.offset, size: p.size }).collect();
    let local: u32 = function.slots.iter().map(|slot| slot.size).fold(0, u32::saturating_add);
    Ok(KernelInfo {
        function: id,
        name,
        params,
        param_bytes: function.param_bytes(),
        max_threads: product(bounds.max_threads).or(product(bounds.required_threads)).unwrap_or(0),
        required_threads: bounds.required_threads,
        required_cluster: bounds.required_cluster,
        max_cluster: bounds.max_cluster,
        explicit_cluster: bounds.explicit_cluster,
        static_shared: SharedLayout::of(module, id).static_bytes.try_into().unwrap_or(u32::MAX),
        local,
        refused,
    })
}

/// The threads that bounds by dimension allow in all; none where nothing is said.
fn product(bounds: [u32; 3]) -> Option<u32> {
    let said = bounds.iter().any(|&bound| bound != 0);
    said.then(|| bounds.iter().map(|&bound| bound.max(1)).fold(1, u32::saturating_mul))
}

fn text(bytes: &[u8]) -> Result<String> {
    if container::sniff(bytes) != Kind::Ptx {
        return Err(Error::InvalidImage("neither a fatbin, nor an ELF file, nor PTX text".into()));
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::InvalidImage("the PTX is not UTF-8".into()))
}

fn no_binary(lacking: Option<Diagnostic>) -> Error {
    Error::NoBinary(lacking.map_or_else(|| "the module holds no code".to_owned(), |lacking| plain(&lacking)))
}

fn decoded(image: &Image<'_>, limits: &Limits) -> Result<String> {
    Ok(image.ptx(limits.image).map_err(|diagnostic| damaged(&diagnostic))?.into_owned())
}

/// Which text is looked for.
struct Wanted {
    /// The device's compute capability, times ten.
    sm: u32,
    /// One for later devices will do, where there is no other.
    later: bool,
    limits: Limits,
}

impl Wanted {
    /// The text of a fatbin, or of several that are parts of one program. Parts without PTX for the device are left out where
    /// others have it: the toolkit's own libraries, which programs are linked with whether they use them or not.
    fn in_fatbins(&self, fatbins: &[&[u8]]) -> Result<String> {
        let mut texts = Vec::new();
        let mut lacking = None;
        for fatbin in fatbins {
            let images = container::images(fatbin).map_err(|diagnostic| damaged(&diagnostic))?;
            for image in &images {
                log::info(format_args!("image: {:?} for {}", image.kind, image.target()));
            }
            match container::choose(&images, self.sm) {
                Choice::Ptx(image) => texts.push(decoded(image, &self.limits)?),
                // What is written for a later device runs as far as its instructions are known; those that are not are
                // named when the text is lifted.
                Choice::TooNew(targets)
                    if self.later
                        && let Some(image) = container::earliest(&images) =>
                {
                    log::info(format_args!(
                        "only PTX for {}: that for {} is taken",
                        targets.join(", "),
                        image.target()
                    ));
                    texts.push(decoded(image, &self.limits)?);
                }
                other => lacking = lacking.or(other.diagnostic(self.sm)),
            }
        }
        match (texts.len(), lacking) {
            (0, lacking) => Err(no_binary(lacking)),
            (1, _) => Ok(texts.remove(0)),
            (_, _) => Ok(join::join(&texts)),
        }
    }

    /// A cubin is machine code; other ELF files may hold fatbins.
    fn in_elf(&self, bytes: &[u8]) -> Result<String> {
        let elf = container::Elf::parse(bytes).map_err(|diagnostic| damaged(&diagnostic))?;
        if elf.is_cubin() {
            let target = elf.sm().map_or_else(|| "another device".to_owned(), |sm| format!("sm_{sm}"));
            return Err(no_binary(Choice::ElfOnly(vec![target]).diagnostic(self.sm)));
        }
        let sections = container::fatbins_in_elf(bytes).map_err(|diagnostic| damaged(&diagnostic))?;
        self.in_fatbins(&sections.iter().map(|section| section.bytes).collect::<Vec<_>>())
    }
}

/// The cubin for a device, and what it is for. None where there is none.
fn machine_code(found: &HostModule, sm: u32) -> Option<Result<(Vec<u8>, String)>> {
    let in_fatbin = |bytes: &[u8]| {
        let images = container::images(bytes).ok()?;
        let image = container::machine_code(&images, sm)?;
        let decoded = image.payload.decode(Limits::default().image).map(Cow::into_owned);
        Some(decoded.map(|bytes| (bytes, image.target())).map_err(|diagnostic| damaged(&diagnostic)))
    };
    match found {
        HostModule::Text(_) => None,
        HostModule::Fatbin(bytes) => in_fatbin(bytes),
        HostModule::Wrapper(HostFatbins { data, .. }) => in_fatbin(data),
        HostModule::Elf(bytes) => match container::Elf::parse(bytes).ok()?.sm() {
            Some(own) => (own / 10 == sm / 10 && own <= sm).then(|| Ok((bytes.clone(), format!("sm_{own}")))),
            None => {
                let sections = container::fatbins_in_elf(bytes).ok()?;
                sections.iter().find_map(|section| in_fatbin(section.bytes))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_code_is_refused() {
        let load = |bytes: &[u8]| Code::load(ImageSource::Bytes(bytes), UNNAMED, (9, 0));
        assert!(matches!(load(b"nonsense"), Err(Error::InvalidImage(_))));
        assert!(matches!(load(b""), Err(Error::InvalidImage(_))));
        let broken = b".version 7.0\n.target sm_75\n.address_size 64\n.visible .entry k() { nothing.u32; ret; }\n";
        assert!(matches!(load(broken), Err(Error::InvalidCode(text)) if text.starts_with("module.ptx:4:")));
        assert!(load(b".version 7.0\n.target sm_75\n.address_size 64\n").is_ok(), "no kernels is no error");
    }

    #[test]
    fn one_kernel_that_cannot_be_lifted_leaves_the_others() {
        let text = ".version 7.0\n.target sm_75\n.address_size 64\n\
                    .visible .entry good() { ret; }\n.visible .entry bad() { nothing.u32; ret; }\n";
        let code = Code::from_text(text.to_owned(), "two.ptx").unwrap();
        assert_eq!(code.kernels[code.kernel("good").unwrap()].refused, None);
        let refused = code.kernels[code.kernel("bad").unwrap()].refused.as_ref().unwrap();
        assert!(refused.starts_with("two.ptx:5:"), "{refused}");
        assert!(matches!(code.kernel("ugly"), Err(Error::NotFound(_))));
    }
}
