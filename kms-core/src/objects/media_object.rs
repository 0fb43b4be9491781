//! `MediaObject`: the root of all classes.

use protocol::{Code, Error, NoParams, Ref, params};

use super::names;
use crate::class::Class;
use crate::object::Object;
use crate::types::Tag;

params! {
    /// Parameters of `addTag`.
    pub struct AddTag {
        /// Key; a tag of this key is replaced.
        key "key": String,
        /// Value.
        value "value": String,
    }

    /// Parameters of `removeTag` and `getTag`.
    pub struct TagKey {
        /// Key.
        key "key": String,
    }
}

/// The class, for an object of type `T`.
pub fn class<T: Object>() -> Class<T> {
    Class::<T>::new(
        "MediaObject",
        "core",
        "Root of all classes: what every object has.",
    )
    .constant(
        "mediaPipeline",
        "The pipeline the object belongs to; a pipeline's is itself.",
        |this| {
            this.core()
                .pipeline()
                .map(|p| Ref::<names::MediaPipeline>::new(p.core().id()))
        },
    )
    .constant(
        "parent",
        "The object this one was made in; none for pipelines.",
        |this| this.core().parent().map(Ref::<names::MediaObject>::new),
    )
    .constant("id", "The object's id, unique for ever.", |this| {
        this.core().id().to_owned()
    })
    .property(
        "children",
        "The objects made in this one, oldest first.",
        |this| {
            let children = this
                .core()
                .server()
                .map(|s| s.children(this.core().id()))
                .unwrap_or_default();
            children
                .into_iter()
                .map(Ref::<names::MediaObject>::new)
                .collect::<Vec<_>>()
        },
    )
    .settable(
        "name",
        "A name for people. Default: the id.",
        |this| this.core().name(),
        |this, name: String| {
            this.core().set_name(name);
            Ok(())
        },
    )
    .settable(
        "sendTagsInEvents",
        "Whether the object's events carry its tags. Default: false.",
        |this| this.core().send_tags(),
        |this, send: bool| {
            this.core().set_send_tags(send);
            Ok(())
        },
    )
    .constant(
        "creationTime",
        "When the object was created, seconds since 1970.",
        |this| i32::try_from(this.core().creation_time()).unwrap_or(i32::MAX),
    )
    .method(
        "addTag",
        "Sets a tag. Error 40107 if it is longer than 16 KiB or the object has 256 tags already.",
        |this, _, p: AddTag| this.core().add_tag(p.key, p.value),
    )
    .method(
        "removeTag",
        "Removes a tag; nothing happens if it is not there.",
        |this, _, p: TagKey| {
            this.core().remove_tag(&p.key);
            Ok(())
        },
    )
    .method(
        "getTag",
        "The value of a tag. Error 40110 if there is none of this key.",
        |this, _, p: TagKey| {
            this.core()
                .tag(&p.key)
                .ok_or_else(|| Error::new(Code::TagKeyNotFound, "Tag key not found"))
        },
    )
    .method(
        "getTags",
        "All tags, by key.",
        |this, _, _: NoParams| -> Result<Vec<Tag>, Error> { Ok(this.core().tags()) },
    )
    .event::<crate::events::Error>()
}
