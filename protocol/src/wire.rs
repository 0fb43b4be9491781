//! Values on the wire: how Rust types are decoded from and encoded to the JSON of the Kurento Protocol.
//!
//! Kurento converts leniently between scalars (its clients rely on it): a number or a boolean is taken where a string is
//! expected, a boolean or `null` where a number is expected; a string is never taken for a number. The same is done here.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde_json::{Map, Value};

use crate::describe::{EventDef, Field, Type};
use crate::error::{Code, Error};

/// Where a value stands: for messages such as "'bitrate' property should be a integer".
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Name of the parameter or property.
    pub name: &'a str,
    /// "parameter" or "property".
    pub kind: &'a str,
}

impl Place<'_> {
    /// The error that the value here has the wrong type.
    pub fn wrong(&self, expected: &str) -> Error {
        Error::wrong_type(self.name, self.kind, expected)
    }
}

/// A type that crosses the wire.
pub trait Wire: Sized {
    /// Whether a value may be left out.
    const OPTIONAL: bool = false;
    /// The description of the type.
    fn ty() -> Type;
    /// Takes the value out of JSON. `None`: it was left out.
    fn decode(value: Option<&Value>, place: Place<'_>) -> Result<Self, Error>;
    /// Puts the value into JSON. `None`: leave it out.
    fn encode(&self) -> Option<Value>;
}

/// Typed parameters of a method or constructor, declared with [`crate::params!`].
pub trait Params: Sized + Send + 'static {
    /// The parameters, in order.
    fn fields() -> Vec<Field>;
    /// Takes the parameters out of `constructorParams` or `operationParams`. `None`: there are none at all.
    fn decode(values: Option<&Map<String, Value>>) -> Result<Self, Error>;
}

/// No parameters.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoParams;

impl Params for NoParams {
    fn fields() -> Vec<Field> {
        Vec::new()
    }
    fn decode(_: Option<&Map<String, Value>>) -> Result<Self, Error> {
        Ok(NoParams)
    }
}

/// A typed event, declared with [`crate::event!`].
pub trait Event: Send + 'static {
    /// Name of the event, e.g. "IceCandidateFound".
    const NAME: &'static str;
    /// Name of the event it extends: "Media" or "RaiseBase".
    const PARENT: &'static str;
    /// Its description.
    fn def() -> EventDef;
    /// Its own properties, without those of its parents (`source`, `tags`, `timestampMillis`, `type`).
    fn encode(&self) -> Map<String, Value>;
}

/// A marker for the name of a remote class, so that [`Ref`] says what it refers to.
pub trait ClassName: Send + Sync + 'static {
    /// The class, e.g. "MediaPipeline".
    const NAME: &'static str;
}

/// A reference to a remote object of class `C`. On the wire: its id.
pub struct Ref<C> {
    /// The object's id.
    pub id: String,
    class: PhantomData<fn() -> C>,
}

impl<C> Ref<C> {
    /// A reference to the object with this id.
    pub fn new(id: impl Into<String>) -> Self {
        Ref {
            id: id.into(),
            class: PhantomData,
        }
    }
}

impl<C> Clone for Ref<C> {
    fn clone(&self) -> Self {
        Ref::new(self.id.clone())
    }
}

impl<C> std::fmt::Debug for Ref<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ref({})", self.id)
    }
}

impl<C: ClassName> Wire for Ref<C> {
    fn ty() -> Type {
        Type::Object(C::NAME)
    }
    fn decode(value: Option<&Value>, place: Place<'_>) -> Result<Self, Error> {
        String::decode(value, place).map(Ref::new)
    }
    fn encode(&self) -> Option<Value> {
        Some(Value::String(self.id.clone()))
    }
}

impl<T: Wire> Wire for Option<T> {
    const OPTIONAL: bool = true;
    fn ty() -> Type {
        T::ty()
    }
    fn decode(value: Option<&Value>, place: Place<'_>) -> Result<Self, Error> {
        value.map(|v| T::decode(Some(v), place)).transpose()
    }
    fn encode(&self) -> Option<Value> {
        self.as_ref().and_then(T::encode)
    }
}

impl Wire for () {
    fn ty() -> Type {
        Type::Void
    }
    fn decode(_: Option<&Value>, _: Place<'_>) -> Result<Self, Error> {
        Ok(())
    }
    fn encode(&self) -> Option<Value> {
        None
    }
}

/// A string, or a scalar that Kurento takes for one: 5 is "5", true is "true", null is "".
pub fn lenient_string(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        Value::Null => Some(String::new()),
        _ => None,
    }
}

impl Wire for String {
    fn ty() -> Type {
        Type::String
    }
    fn decode(value: Option<&Value>, place: Place<'_>) -> Result<Self, Error> {
        value
            .and_then(lenient_string)
            .ok_or_else(|| place.wrong("string"))
    }
    fn encode(&self) -> Option<Value> {
        Some(Value::String(self.clone()))
    }
}

impl Wire for bool {
    fn ty() -> Type {
        Type::Boolean
    }
    fn decode(value: Option<&Value>, place: Place<'_>) -> Result<Self, Error> {
        match value {
            Some(Value::Bool(b)) => Ok(*b),
            Some(Value::Number(n)) => Ok(n.as_f64().is_some_and(|f| f != 0.0)),
            Some(Value::Null) => Ok(false),
            _ => Err(place.wrong("boolean")),
        }
    }
    fn encode(&self) -> Option<Value> {
        Some(Value::Bool(*self))
    }
}

fn lenient_number(value: Option<&Value>) -> Option<f64> {
    match value? {
        Value::Number(n) => n.as_f64(),
        Value::Bool(b) => Some(f64::from(u8::from(*b))),
        Value::Null => Some(0.0),
        _ => None,
    }
}

impl Wire for i32 {
    fn ty() -> Type {
        Type::Int
    }
    fn decode(value: Option<&Value>, place: Place<'_>) -> Result<Self, Error> {
        lenient_number(value)
            .filter(|n| *n > f64::from(i32::MIN) - 1.0 && *n < f64::from(i32::MAX) + 1.0)
            .map(|n| n as i32)
            .ok_or_else(|| place.wrong("integer"))
    }
    fn encode(&self) -> Option<Value> {
        Some(Value::from(*self))
    }
}

impl Wire for i64 {
    fn ty() -> Type {
        Type::Int64
    }
    fn decode(value: Option<&Value>, place: Place<'_>) -> Result<Self, Error> {
        if let Some(Value::Number(n)) = value
            && let Some(exact) = n.as_i64()
        {
            return Ok(exact);
        }
        lenient_number(value)
            .filter(|n| n.abs() < 9.2e18)
            .map(|n| n as i64)
            .ok_or_else(|| place.wrong("integer"))
    }
    fn encode(&self) -> Option<Value> {
        Some(Value::from(*self))
    }
}

impl Wire for f64 {
    fn ty() -> Type {
        Type::Double
    }
    fn decode(value: Option<&Value>, place: Place<'_>) -> Result<Self, Error> {
        lenient_number(value).ok_or_else(|| place.wrong("double"))
    }
    fn encode(&self) -> Option<Value> {
        Some(Value::from(*self))
    }
}

impl Wire for f32 {
    fn ty() -> Type {
        Type::Float
    }
    fn decode(value: Option<&Value>, place: Place<'_>) -> Result<Self, Error> {
        lenient_number(value)
            .map(|n| n as f32)
            .ok_or_else(|| place.wrong("double"))
    }
    fn encode(&self) -> Option<Value> {
        Some(Value::from(*self))
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn ty() -> Type {
        Type::List(Box::new(T::ty()))
    }
    fn decode(value: Option<&Value>, place: Place<'_>) -> Result<Self, Error> {
        match value {
            Some(Value::Array(items)) => items.iter().map(|v| T::decode(Some(v), place)).collect(),
            Some(Value::Null) => Ok(Vec::new()),
            _ => Err(place.wrong("array")),
        }
    }
    fn encode(&self) -> Option<Value> {
        Some(self.iter().map(|v| v.encode().unwrap_or_default()).collect())
    }
}

impl<T: Wire> Wire for BTreeMap<String, T> {
    fn ty() -> Type {
        Type::Map(Box::new(T::ty()))
    }
    fn decode(value: Option<&Value>, place: Place<'_>) -> Result<Self, Error> {
        match value {
            Some(Value::Object(entries)) => entries
                .iter()
                .map(|(k, v)| Ok((k.clone(), T::decode(Some(v), place)?)))
                .collect(),
            _ => Err(place.wrong("object")),
        }
    }
    fn encode(&self) -> Option<Value> {
        Some(Value::Object(
            self.iter()
                .map(|(k, v)| (k.clone(), v.encode().unwrap_or_default()))
                .collect(),
        ))
    }
}

/// Takes one field out of a map of parameters or properties, with its default. Used by the macros.
#[doc(hidden)]
pub fn take<T: Wire>(
    values: Option<&Map<String, Value>>,
    name: &'static str,
    kind: &'static str,
    default: Option<T>,
    needs_map: bool,
) -> Result<T, Error> {
    let value = values.and_then(|v| v.get(name));
    match (value, default) {
        (None, Some(default)) if values.is_some() || !needs_map => Ok(default),
        (value, _) => T::decode(value, Place { name, kind }),
    }
}

/// The error for a string that is no value of an enumeration.
#[doc(hidden)]
pub fn invalid_enum(name: &str) -> Error {
    Error::new(Code::Marshall, format!("Invalid value for '{name}'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const AT: Place<'static> = Place {
        name: "x",
        kind: "parameter",
    };

    #[test]
    fn scalars_convert_as_kurento_converts_them() {
        assert_eq!(String::decode(Some(&json!(5)), AT).unwrap(), "5");
        assert_eq!(String::decode(Some(&json!(null)), AT).unwrap(), "");
        assert!(String::decode(Some(&json!({})), AT).is_err());
        assert_eq!(i32::decode(Some(&json!(1.5)), AT).unwrap(), 1);
        assert_eq!(i32::decode(Some(&json!(true)), AT).unwrap(), 1);
        assert_eq!(i32::decode(Some(&json!(null)), AT).unwrap(), 0);
        assert_eq!(
            i32::decode(Some(&json!("12")), AT).unwrap_err().message,
            "'x' parameter should be a integer"
        );
        assert!(i32::decode(Some(&json!(99999999999_i64)), AT).is_err());
        assert!(bool::decode(Some(&json!(1)), AT).unwrap());
        assert!(bool::decode(Some(&json!("true")), AT).is_err());
        assert!(i32::decode(None, AT).is_err());
        assert_eq!(Option::<i32>::decode(None, AT).unwrap(), None);
    }

    #[test]
    fn large_integers_keep_every_digit() {
        assert_eq!(
            i64::decode(Some(&json!(9_007_199_254_740_993_i64)), AT).unwrap(),
            9_007_199_254_740_993
        );
    }
}
