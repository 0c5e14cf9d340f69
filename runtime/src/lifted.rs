//! Modules that were lifted are kept on disk from run to run, so that a process that starts again need not parse their texts.
//!
//! Only those are kept that there was nothing to say about: warnings and errors are for who has the text, and are found in it
//! each time.

use crate::log;
use hetgpu_cache::{Cache, Digest, Hasher};
use hetgpu_device::Cache as Place;
use hetir::binary;
use hetir::diag::Diagnostic;
use hetir::ir::Module;
use std::sync::OnceLock;

/// Stands for the sources that decide how a text is lifted.
const VERSION: &str = env!("HETGPU_LIFT_VERSION");

static PLACE: OnceLock<Place> = OnceLock::new();

/// From now on modules are kept in this folder, which is looked at when the first one comes.
pub fn keep_modules(place: &Place) {
    let _ = PLACE.set(place.clone());
}

fn cache() -> Option<&'static Cache> {
    static CACHE: OnceLock<Option<Cache>> = OnceLock::new();
    let place = PLACE.get()?;
    let open = || Cache::open(&place.folder, place.limit);
    CACHE
        .get_or_init(|| open().inspect_err(|error| log::info(format_args!("modules are not kept: {error}"))).ok())
        .as_ref()
}

/// The module of a text, and what there is to say about it.
pub(crate) fn lift(text: &str) -> (Module, Vec<Diagnostic>) {
    with(cache(), text)
}

fn with(cache: Option<&Cache>, text: &str) -> (Module, Vec<Diagnostic>) {
    let kept = cache.map(|cache| (cache, key(text)));
    let found = kept.as_ref().and_then(|(cache, key)| binary::decode(&cache.load(key)?));
    if let Some(module) = found {
        return (module, Vec::new());
    }
    let lifted = ptx_frontend::lift_text(text, ptx_frontend::Options { lenient: true });
    if let Some((cache, key)) = kept
        && lifted.diagnostics.is_empty()
        && let Some(bytes) = binary::encode(&lifted.module)
        && let Err(error) = cache.store(&key, &bytes)
    {
        log::info(format_args!("a module is not kept: {error}"));
    }
    (lifted.module, lifted.diagnostics)
}

fn key(text: &str) -> Digest {
    let mut hasher = Hasher::new();
    for field in ["a module as hetIR", VERSION, text] {
        hasher.field(field.as_bytes());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hetgpu_cache::Temporary;

    const SOUND: &str = ".version 7.0
.target sm_70
.address_size 64
.global .u32 counter = 5;
.visible .entry count()
{
	.reg .u32 %r<3>;
	.reg .u64 %at;
	mov.u64 %at, counter;
	ld.global.u32 %r1, [%at];
	add.u32 %r2, %r1, 1;
	st.global.u32 [%at], %r2;
	ret;
}
";

    fn files(folder: &Temporary) -> usize {
        std::fs::read_dir(folder.path()).unwrap().count()
    }

    #[test]
    fn a_kept_module_is_the_lifted_one() {
        let folder = Temporary::new().unwrap();
        let lift = |text: &str| {
            let cache = Cache::open(folder.path(), 1 << 20).unwrap();
            format!("{:?}", with(Some(&cache), text))
        };
        let plain = format!("{:?}", with(None, SOUND));
        assert_eq!(lift(SOUND), plain);
        assert_eq!(files(&folder), 1);
        assert_eq!(lift(SOUND), plain);
        assert_eq!(files(&folder), 1);

        // Another text is another module.
        let other = SOUND.replace("%r1, 1;", "%r1, 2;");
        assert_eq!(lift(&other), format!("{:?}", with(None, &other)));
        assert_eq!(files(&folder), 2);

        // It is what was kept that is found, not what would be lifted now.
        let cache = Cache::open(folder.path(), 1 << 20).unwrap();
        cache.store(&key(SOUND), &binary::encode(&Module::default()).unwrap()).unwrap();
        assert_eq!(lift(SOUND), format!("{:?}", (Module::default(), Vec::<Diagnostic>::new())));
        // What cannot be read is lifted, and kept anew.
        cache.store(&key(SOUND), b"no module").unwrap();
        assert_eq!(lift(SOUND), plain);
        assert_eq!(cache.load(&key(SOUND)), binary::encode(&with(None, SOUND).0));
    }

    /// Errors and warnings are told each time, with their places.
    #[test]
    fn what_there_is_something_to_say_about_is_not_kept() {
        let folder = Temporary::new().unwrap();
        let cache = Cache::open(folder.path(), 1 << 20).unwrap();
        let syntax = SOUND.replace("add.u32 %r2, %r1, 1;", "add.u32 %r2 %r1, 1;");
        let unknown = SOUND.replace("add.u32", "addd.u32");
        let register = SOUND.replace("%r1, 1;", "%r7, 1;");
        for text in [syntax, unknown, register] {
            let (module, diagnostics) = with(Some(&cache), &text);
            let refused = module.functions.iter().any(|function| !function.unavailable.is_empty());
            assert!(refused || !diagnostics.is_empty(), "{text}");
            assert_eq!(format!("{:?}", with(Some(&cache), &text)), format!("{:?}", (module, diagnostics)));
            assert_eq!(files(&folder), 0, "{text}");
        }
    }
}
