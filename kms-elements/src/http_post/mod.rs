//! `HttpPostEndpoint`: plays a file while a client uploads it. How the bytes come, this module is not told: whoever serves
//! HTTP finds the endpoint in [`Uploads`], and hands them to its [`Upload`].

mod class;
mod endpoint;
mod mp4;
mod upload;
mod uploads;

pub(crate) use class::class;
pub use endpoint::HttpPostEndpoint;
pub use upload::{Upload, UploadError};
pub use uploads::Uploads;
