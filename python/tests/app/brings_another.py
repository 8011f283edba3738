import colorsys

mix = colorsys.rgb_to_hsv
