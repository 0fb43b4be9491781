//! The surroundings of a call: who calls, and how ids become objects.

use std::sync::Arc;

use protocol::{ClassName, Code, Error, Ref};

use crate::class::ClassEntry;
use crate::element::Element;
use crate::hub::Hub;
use crate::object::Object;
use crate::reach::Reach;
use crate::server::Server;
use crate::tenant::{SessionKey, Tenant};

/// What a constructor or method may need to know besides its parameters.
#[derive(Clone)]
pub struct Call {
    /// The server.
    pub server: Server,
    /// The session that calls.
    pub session: SessionKey,
}

impl Call {
    /// Who calls.
    pub fn tenant(&self) -> &Tenant {
        self.session.tenant()
    }

    /// What may be reached on behalf of who calls.
    pub fn reach(&self) -> Reach {
        self.server.reach(self.tenant())
    }

    /// The object of this id and its class. Error 40101 if there is none, or the caller does not see it.
    pub fn find(&self, id: &str) -> Result<(Arc<dyn Object>, Arc<ClassEntry>), Error> {
        self.server.find(self.tenant(), id)
    }

    fn referred<C>(&self, reference: &Ref<C>) -> Result<Arc<dyn Object>, Error> {
        self.find(&reference.id).map(|(object, _)| object)
    }

    /// The object a method's parameter refers to. Unknown: 40101; of another class: 40107.
    pub fn object<T: Object, C: ClassName>(&self, reference: &Ref<C>) -> Result<Arc<T>, Error> {
        let object = self.referred(reference)?;
        let found = object.core().qualified_type().to_owned();
        object
            .into_any()
            .downcast::<T>()
            .map_err(|_| wrong_class::<C>(&reference.id, &found, Code::IllegalParam))
    }

    /// The object a constructor's parameter refers to. Unknown: 40101; of another class: -32603, as Kurento answers.
    pub fn constructor_object<T: Object, C: ClassName>(&self, reference: &Ref<C>) -> Result<Arc<T>, Error> {
        self.object(reference).map_err(|e| match e.code {
            Code::IllegalParam => Error::new(Code::Internal, e.message),
            _ => e,
        })
    }

    /// The hub that a constructor's parameter refers to, whatever its class. Unknown: 40101; not a hub: -32603, as Kurento answers.
    pub fn constructor_hub<C: ClassName>(&self, reference: &Ref<C>) -> Result<Arc<dyn Hub>, Error> {
        let object = self.referred(reference)?;
        let found = object.core().qualified_type().to_owned();
        object
            .into_hub()
            .ok_or_else(|| wrong_class::<C>(&reference.id, &found, Code::Internal))
    }

    /// The element a parameter refers to, whatever its class. Unknown: 40101; not an element: 40107.
    pub fn element<C: ClassName>(&self, reference: &Ref<C>) -> Result<Arc<dyn Element>, Error> {
        let object = self.referred(reference)?;
        let found = object.core().qualified_type().to_owned();
        object
            .into_element()
            .ok_or_else(|| wrong_class::<C>(&reference.id, &found, Code::IllegalParam))
    }
}

fn wrong_class<C: ClassName>(id: &str, found: &str, code: Code) -> Error {
    let expected = C::NAME;
    Error::new(
        code,
        format!(
            "A {expected} is needed here, but '{}' is a {found}",
            protocol::error::clip(id)
        ),
    )
}
