//! Texture and surface references: a module's variables that stand for what the program sets them to.

use super::object::{Bound, Target};
use super::{Array, Resource};
use crate::handle::{Handle, Kind};
use crate::module::Module;
use crate::session::Session;
use crate::{Error, Result, Runtime};
use hetgpu_device::{ImageObject, Sampler};
use hetir::ir::Opaque;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

/// What a program set a reference to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ReferenceState {
    pub sampler: Sampler,
    pub normalized_floats: bool,
    pub resource: Option<Resource>,
    /// What the interface wants to remember: format, channels, flags, anisotropy.
    pub notes: [u32; 4],
}

/// A variable of a module, or a reference that belongs to none.
pub struct Reference {
    pub session: Arc<Session>,
    pub is_texture: bool,
    /// The module and the variable's name and address.
    variable: Option<(Weak<Module>, String, u64)>,
    state: Mutex<(ReferenceState, Option<Bound>)>,
}

impl Kind for Reference {
    const TAG: u8 = 0x63;
    const NAME: &'static str = "texture or surface reference";
}

impl Reference {
    fn lock(&self) -> MutexGuard<'_, (ReferenceState, Option<Bound>)> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub fn state(&self) -> ReferenceState {
        self.lock().0
    }

    /// It is a module's variable.
    pub fn is_variable(&self) -> bool {
        self.variable.is_some()
    }

    pub(super) fn is_of(&self, module: &Module) -> bool {
        self.variable.as_ref().is_some_and(|(of, ..)| std::ptr::eq(of.as_ptr(), module))
    }

    fn is_named(&self, module: &Arc<Module>, name: &str) -> bool {
        self.is_of(module) && self.variable.as_ref().is_some_and(|(_, own, _)| own == name)
    }
}

impl Runtime {
    /// The reference that a module's variable is.
    pub fn variable_reference(
        &self,
        module: Handle<Module>,
        name: &str,
        is_texture: bool,
        initial: ReferenceState,
    ) -> Result<Handle<Reference>> {
        let module = self.modules.get(module)?;
        let wanted = if is_texture { Opaque::Texture } else { Opaque::Surface };
        let mut variables = module.variables();
        let found = variables.find(|(global, _)| global.name == name && global.opaque == Some(wanted));
        let (_, address) = found.ok_or_else(|| Error::NotFound(format!("no reference named {name}")))?;
        let references = &self.images.references;
        if let Some(&known) = references.handles_where(|reference| reference.is_named(&module, name)).first() {
            return Ok(known);
        }
        let variable = Some((Arc::downgrade(&module), name.to_owned(), address));
        let (session, state) = (module.session.clone(), Mutex::new((initial, None)));
        Ok(references.insert(Arc::new(Reference { session, is_texture, variable, state })))
    }

    /// A texture reference that is no module's variable.
    pub fn create_reference(&self, initial: ReferenceState) -> Result<Handle<Reference>> {
        let (session, state) = (self.session()?, Mutex::new((initial, None)));
        let reference = Reference { session, is_texture: true, variable: None, state };
        Ok(self.images.references.insert(Arc::new(reference)))
    }

    /// Destroys a reference; a module's variable then stands for nothing.
    pub fn destroy_reference(&self, handle: Handle<Reference>) -> Result<()> {
        let reference = self.images.references.get(handle)?;
        self.change_reference(&reference, |state| state.resource = None)?;
        self.images.references.remove(handle).map(drop)
    }

    /// Changes what a reference stands for, after all work that may use it.
    pub fn change_reference(&self, reference: &Reference, change: impl FnOnce(&mut ReferenceState)) -> Result<()> {
        let session = &reference.session;
        session.check()?;
        let mut state = reference.lock();
        let mut next = state.0;
        change(&mut next);
        let target = match next.resource {
            None => None,
            Some(resource) => Some(resource.target(self, session, None)?),
        };
        session.drain();
        let mut bound = None;
        if let (Some((_, _, address)), Some(Target { texels, storage })) = (&reference.variable, target) {
            let ReferenceState { sampler, normalized_floats, .. } = next;
            let object = match reference.is_texture {
                true => ImageObject::Texture { texels, sampler, normalized_floats },
                false => ImageObject::Surface(texels),
            };
            let object = self.bind(session, &object, storage, Box::new(()))?;
            session.device.device.write(*address, &object.handle.to_le_bytes())?;
            bound = Some(object);
        } else if let Some((_, _, address)) = &reference.variable {
            session.device.device.write(*address, &0u64.to_le_bytes())?;
        }
        *state = (next, bound);
        Ok(())
    }

    /// The array that a surface reference stands for.
    pub fn set_surface_reference(&self, reference: &Reference, array: Handle<Array>) -> Result<()> {
        if !self.images.arrays.get(array)?.description.writable {
            return Err(Error::invalid("a surface over an array that kernels may not write to"));
        }
        self.change_reference(reference, |state| state.resource = Some(Resource::Array(array)))
    }
}
