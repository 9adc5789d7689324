"""What the images are like that presets are trained on, for `rsvl.runtime.manifest.ImageSpec`."""

RRSIS_D_SIDE = 800
"""Side of RRSIS-D's images (and of DIOR's, which they come from) in pixels."""
RRSIS_D_RESOLUTION = (0.5, 30.0)
"""Their ground resolution, metres per pixel (DIOR, Li et al., 2020)."""
SYNTHETIC_RESOLUTION = (0.18, 2.7)
"""That of the synthetic scenes: 45 to 700 m over 256 pixels."""
