//! The macros that declare remote types: one declaration gives the Rust type, its description and its JSON.

/// Joins the lines of a doc comment into one text.
#[doc(hidden)]
#[macro_export]
macro_rules! __doc {
    ($($doc:literal),*) => { $crate::describe::join_doc(&[$($doc),*]) };
}

/// The description of one field; used by the other macros.
#[doc(hidden)]
#[macro_export]
macro_rules! __field {
    ($wire:literal, $ty:ty, [$($doc:literal),*], [$($default:expr)?], [$($soft:expr)?]) => {
        $crate::describe::Field {
            name: $wire,
            doc: $crate::__doc!($($doc),*),
            ty: <$ty as $crate::Wire>::ty(),
            optional: <$ty as $crate::Wire>::OPTIONAL $(|| { let _ = &$default; true })?,
            default: None
                $(.or(<$ty as $crate::Wire>::encode(&<$ty>::from($default))))?
                $(.or(<$ty as $crate::Wire>::encode(&<$ty>::from($soft))))?,
        }
    };
}

/// Declares the parameters of a method or constructor.
///
/// `name "wireName": Type` is required, `Option<Type>` may be left out, `Type = default` has a default, and
/// `Type => default` has one only when `operationParams` is there at all (`getUsedCpu` wants that).
#[macro_export]
macro_rules! params {
    ($($(#[doc = $sdoc:literal])* $vis:vis struct $name:ident {
        $($(#[doc = $doc:literal])* $field:ident $wire:literal : $ty:ty $(= $default:expr)? $(=> $soft:expr)?),* $(,)?
    })*) => {$(
        $(#[doc = $sdoc])*
        #[derive(Debug, Clone)]
        $vis struct $name { $($(#[doc = $doc])* pub $field: $ty),* }

        impl $crate::Params for $name {
            fn fields() -> Vec<$crate::Field> {
                vec![$($crate::__field!($wire, $ty, [$($doc),*], [$($default)?], [$($soft)?])),*]
            }
            fn decode(
                values: Option<&$crate::serde_json::Map<String, $crate::serde_json::Value>>,
            ) -> Result<Self, $crate::Error> {
                Ok($name { $($field: {
                    #[allow(unused_mut, unused_assignments)]
                    let (mut default, mut needs_map): (Option<$ty>, bool) = (None, false);
                    $(default = Some(<$ty>::from($default));)?
                    $(default = Some(<$ty>::from($soft)); needs_map = true;)?
                    $crate::wire::take::<$ty>(values, $wire, "parameter", default, needs_map)?
                }),* })
            }
        }
    )*};
}

/// Declares a register type ("complex type") of a module: an object with `__module__` and `__type__`.
///
/// `record! { "kurento" /// doc  pub struct Tag { key "key": String, ... } }`. A type that extends another one repeats
/// the parent's fields and names the parent: `pub struct ElementStats: "Stats" {..}`. A field may have a default, as in
/// [`params`](crate::params); `Option<Type> => default` tells what leaving it out means, and leaves it out in answers too.
#[macro_export]
macro_rules! record {
    ($module:literal $($(#[doc = $sdoc:literal])* $vis:vis struct $name:ident $(: $parent:literal)? {
        $($(#[doc = $doc:literal])* $field:ident $wire:literal : $ty:ty $(= $default:expr)? $(=> $meant:expr)?),* $(,)?
    })*) => {$(
        $(#[doc = $sdoc])*
        #[derive(Debug, Clone)]
        $vis struct $name { $($(#[doc = $doc])* pub $field: $ty),* }

        impl $crate::Wire for $name {
            fn ty() -> $crate::Type {
                $crate::Type::Record($crate::describe::RecordType { name: stringify!($name), def: || $crate::describe::RecordDef {
                    name: stringify!($name),
                    module: $module,
                    doc: $crate::__doc!($($sdoc),*),
                    parent: None $(.or(Some($parent)))?,
                    fields: vec![$($crate::__field!($wire, $ty, [$($doc),*], [$($default)?], [$($meant)?])),*],
                }})
            }
            fn decode(
                value: Option<&$crate::serde_json::Value>,
                place: $crate::wire::Place<'_>,
            ) -> Result<Self, $crate::Error> {
                let Some($crate::serde_json::Value::Object(values)) = value else { return Err(place.wrong("object")) };
                let _ = values;
                Ok($name { $($field: {
                    #[allow(unused_mut, unused_assignments)]
                    let mut default: Option<$ty> = None;
                    $(default = Some(<$ty>::from($default));)?
                    $crate::wire::take::<$ty>(Some(values), $wire, "property", default, false)?
                }),* })
            }
            fn encode(&self) -> Option<$crate::serde_json::Value> {
                let mut map = $crate::serde_json::Map::new();
                map.insert("__module__".into(), $module.into());
                map.insert("__type__".into(), stringify!($name).into());
                $(if let Some(value) = $crate::Wire::encode(&self.$field) { map.insert($wire.into(), value); })*
                Some(map.into())
            }
        }
    )*};
}

/// Declares an enumeration of a module; on the wire a string.
#[macro_export]
macro_rules! remote_enum {
    ($module:literal $($(#[doc = $edoc:literal])* $vis:vis enum $name:ident {
        $($(#[doc = $doc:literal])* $variant:ident = $wire:literal),* $(,)?
    })*) => {$(
        $(#[doc = $edoc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $vis enum $name { $($(#[doc = $doc])* $variant),* }

        impl $name {
            /// All values, in order.
            $vis const ALL: &'static [$name] = &[$($name::$variant),*];
            /// The value's name on the wire.
            $vis fn as_str(self) -> &'static str { match self { $($name::$variant => $wire),* } }
        }

        impl $crate::Wire for $name {
            fn ty() -> $crate::Type {
                $crate::Type::Enum($crate::describe::EnumType { name: stringify!($name), def: || $crate::describe::EnumDef {
                    name: stringify!($name),
                    module: $module,
                    doc: $crate::__doc!($($edoc),*),
                    values: vec![$(($wire, $crate::__doc!($($doc),*))),*],
                }})
            }
            fn decode(
                value: Option<&$crate::serde_json::Value>,
                place: $crate::wire::Place<'_>,
            ) -> Result<Self, $crate::Error> {
                let text = <String as $crate::Wire>::decode(value, place)?;
                match text.as_str() {
                    $($wire => Ok($name::$variant),)*
                    _ => Err($crate::wire::invalid_enum(stringify!($name))),
                }
            }
            fn encode(&self) -> Option<$crate::serde_json::Value> { Some(self.as_str().into()) }
        }
    )*};
}

/// Declares events. `event! { "kurento" /// doc  pub struct ElementConnected: Media { sink "sink": Ref<..>, .. } }`.
/// The parent is `Media` (adds `type`), or `RaiseBase`.
#[macro_export]
macro_rules! event {
    ($module:literal $($(#[doc = $sdoc:literal])* $vis:vis struct $name:ident : $parent:ident {
        $($(#[doc = $doc:literal])* $field:ident $wire:literal : $ty:ty),* $(,)?
    })*) => {$(
        $(#[doc = $sdoc])*
        #[derive(Debug, Clone)]
        $vis struct $name { $($(#[doc = $doc])* pub $field: $ty),* }

        impl $crate::Event for $name {
            const NAME: &'static str = stringify!($name);
            const PARENT: &'static str = stringify!($parent);
            fn def() -> $crate::EventDef {
                $crate::EventDef {
                    name: stringify!($name),
                    module: $module,
                    doc: $crate::__doc!($($sdoc),*),
                    parent: Some(stringify!($parent)),
                    fields: vec![$($crate::__field!($wire, $ty, [$($doc),*], [], [])),*],
                }
            }
            fn encode(&self) -> $crate::serde_json::Map<String, $crate::serde_json::Value> {
                #[allow(unused_mut)]
                let mut map = $crate::serde_json::Map::new();
                $(if let Some(value) = $crate::Wire::encode(&self.$field) { map.insert($wire.into(), value); })*
                map
            }
        }
    )*};
}

/// Declares markers for class names, for use in [`crate::Ref`].
#[macro_export]
macro_rules! class_names {
    ($($(#[doc = $doc:literal])* $name:ident),* $(,)?) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy)]
        pub enum $name {}
        impl $crate::ClassName for $name { const NAME: &'static str = stringify!($name); }
    )*};
}
