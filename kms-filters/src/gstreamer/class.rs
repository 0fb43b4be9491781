//! The remote class `GStreamerFilter`.

use std::sync::Arc;

use kms_core::media::Timeline;
use kms_core::objects::{MediaPipeline, names};
use kms_core::types::MediaType;
use kms_core::{Class, ElementCore, Object, Tenant};
use protocol::{Code, Error, Ref, params, remote_enum};

use super::chain::Chain;
use crate::filter::{Filter, filter, filter_object};

remote_enum! { "kurento"
    /// The kind of media that a filter changes.
    pub enum FilterType {
        /// Audio.
        Audio = "AUDIO",
        /// Found out: the kind that the elements are made for.
        Autodetect = "AUTODETECT",
        /// Video.
        Video = "VIDEO",
    }
}

params! {
    /// Parameters of the constructor.
    pub struct Create {
        /// The pipeline it belongs to.
        media_pipeline "mediaPipeline": Ref<names::MediaPipeline>,
        /// Elements as for `gst-launch`, `videobalance saturation=0.0` or `videoflip method=clockwise ! gamma gamma=2`; at most 4096 bytes.
        /// docs/filters.md says which.
        command "command": String,
        /// The kind of media that it changes.
        filter_type "filterType": FilterType = FilterType::Autodetect,
    }

    /// Parameters of `setElementProperty`.
    pub struct SetElementProperty {
        /// Name of the property. Of several elements the first that has one of this name is meant.
        property_name "propertyName": String,
        /// Its value, as in a command.
        property_value "propertyValue": String,
    }
}

/// A filter made of GStreamer's elements.
pub(crate) struct GStreamerFilter {
    filter: Arc<Filter>,
    chain: Arc<Chain>,
    command: String,
}

impl GStreamerFilter {
    fn set(&self, property: &str, value: &str) -> Result<(), Error> {
        self.chain
            .set(property, value)
            .map_err(|message| Error::new(Code::Marshall, message))?;
        self.filter.try_again();
        Ok(())
    }
}

/// The elements of a command, for media of this kind.
pub(super) fn chain(command: &str, wanted: FilterType) -> Result<Chain, Error> {
    let refused = |why: String| {
        Error::new(
            Code::Marshall,
            format!("GStreamer element cannot be created: {why}"),
        )
    };
    let chain = Chain::new(command).map_err(refused)?;
    match (wanted, chain.kind()) {
        (FilterType::Audio, MediaType::Video) => Err(refused(
            "its elements are for video, but filterType is AUDIO".into(),
        )),
        (FilterType::Video, MediaType::Audio) => Err(refused(
            "its elements are for audio, but filterType is VIDEO".into(),
        )),
        _ => Ok(chain),
    }
}

/// The class.
pub(crate) fn class(timeline: &Timeline, for_tenants: &[String]) -> Class<GStreamerFilter> {
    let (timeline, for_tenants) = (timeline.clone(), for_tenants.to_vec());
    Class::<GStreamerFilter>::new(
        "GStreamerFilter",
        "filters",
        "Changes audio or video with elements of GStreamer. Those that can reach files or networks are refused. Elements that fail give an \
         Error event.",
    )
    .extends(filter())
    .constructor(move |call, p: Create| {
        let pipeline: Arc<MediaPipeline> = call.constructor_object(&p.media_pipeline)?;
        let chain = Arc::new(chain(&p.command, p.filter_type)?);
        if *call.tenant() != Tenant::Operator
            && let Some(denied) = chain.elements().into_iter().find(|name| !for_tenants.contains(name))
        {
            let message = format!("The element {denied} is not for tenants: see filters.tenant_gstreamer_elements");
            return Err(Error::new(Code::IllegalParam, message));
        }
        let element = ElementCore::new(&pipeline, pipeline.core(), "kurento.GStreamerFilter")
            .ok_or_else(|| Error::object_not_found(&p.media_pipeline.id))?;
        let this = Arc::new(GStreamerFilter {
            filter: Filter::new(element, &timeline, "filter", chain.kind(), chain.clone()),
            chain,
            command: p.command,
        });
        pipeline.join(this.clone());
        Ok(this)
    })
    .constant("command", "The elements, as the filter was made with.", |this| this.command.clone())
    .method(
        "setElementProperty",
        "Changes a property of an element, also while media flows. Error 40001 if there is none of this name or the value is not possible.",
        |this, _, p: SetElementProperty| this.set(&p.property_name, &p.property_value),
    )
}

filter_object!(GStreamerFilter
    fn dot_parameters(&self) -> Vec<(String, String)> {
        vec![("command".into(), self.command.clone())]
    }
);
