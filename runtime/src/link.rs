//! Linking: texts of several inputs become one image.
//!
//! There is no machine code to link, so that linking is joining of PTX texts. What comes out is a fatbin with the joined
//! text: self-delimiting, and loaded like any other image.

use crate::code::{self, Code, ImageSource};
use crate::handle::{Handle, Kind};
use crate::{Error, Result, Runtime};
use ptx_frontend::container;
use ptx_frontend::join;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

/// A link under way.
pub struct Linker {
    compute: (u32, u32),
    inputs: Mutex<Vec<String>>,
    image: OnceLock<Vec<u8>>,
}

impl Kind for Linker {
    const TAG: u8 = 0x4a;
    const NAME: &'static str = "linker";
}

impl Linker {
    fn inputs(&self) -> MutexGuard<'_, Vec<String>> {
        self.inputs.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Adds an input: PTX text, a fatbin, an object file with device code, or an archive of such files. Messages call
    /// it `name`. Files of an archive without PTX are left out: toolkits' own libraries hold machine code alone, and
    /// what is missing then is found when the link is completed.
    pub fn add(&self, bytes: &[u8], name: &str) -> Result<()> {
        if self.image.get().is_some() {
            return Err(Error::invalid("the link is complete: nothing can be added"));
        }
        if !container::is_archive(bytes) {
            let text = Code::find(ImageSource::Bytes(bytes), self.compute)?;
            // An input with an error is named; all of them together would not say which it was.
            Code::from_text(text.clone(), name)?;
            self.inputs().push(text);
            return Ok(());
        }
        for member in container::members(bytes).map_err(|damage| Error::InvalidImage(code::plain(&damage)))? {
            match Code::find(ImageSource::Bytes(member), self.compute) {
                Ok(text) => self.inputs().push(text),
                Err(Error::NoBinary(_)) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    /// The image, which lives as long as the linker.
    pub fn complete(&self) -> Result<&[u8]> {
        if let Some(image) = self.image.get() {
            return Ok(image);
        }
        let inputs = self.inputs();
        let text = match &inputs[..] {
            [] => {
                let (major, minor) = self.compute;
                format!(".version 9.0\n.target sm_{}\n.address_size 64\n", major * 10 + minor)
            }
            [one] => one.clone(),
            several => join::join(several),
        };
        Code::from_text(text.clone(), code::UNNAMED)?;
        let image = container::fatbin_of(&text, join::version(&text), join::target(&text));
        // Another thread cannot have been faster: the inputs are locked.
        Ok(self.image.get_or_init(|| image))
    }
}

impl Runtime {
    /// Starts a link for the current context's device.
    pub fn create_linker(&self) -> Result<Handle<Linker>> {
        let compute = self.session()?.device.device.caps().compute;
        Ok(self.linkers.insert(Arc::new(Linker { compute, inputs: Mutex::default(), image: OnceLock::new() })))
    }
}
