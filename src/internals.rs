//! The rooms, for this package's tests, benches and fuzz targets and for its Python module.
//! Nothing here is promised to anybody else.

pub mod cli {
    pub use crate::cli::*;
}
pub mod config {
    pub use crate::config::*;
}
pub mod demo {
    pub use crate::demo::*;
}
pub mod expr {
    pub use crate::expr::*;
}
pub mod formats {
    pub use crate::formats::*;
}
pub mod health {
    pub use crate::health::*;
}
pub mod jobs {
    pub use crate::jobs::*;
}
pub mod memory {
    pub use crate::memory::*;
}
pub mod monitor {
    pub use crate::monitor::*;
}
pub mod observation {
    pub use crate::observation::*;
}
pub mod report {
    pub use crate::report::*;
}
pub mod runner {
    pub use crate::runner::*;
}
pub mod sources {
    pub use crate::sources::*;
}
pub mod stats {
    pub use crate::stats::*;
}
pub mod store {
    pub use crate::store::*;
}
pub mod text {
    pub use crate::text::*;
}
pub mod tui {
    pub use crate::tui::*;
}
