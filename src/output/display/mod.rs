//! Display: one screen design, drawn with embedded-graphics, on several devices.
