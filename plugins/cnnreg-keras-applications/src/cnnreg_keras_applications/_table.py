"""What the networks of ``keras.applications`` consist of. Written by make_table.py; do not edit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Row(NamedTuple):
    """One network with 1000 classes at its default size.

    Attributes:
        edge: the default height and width in pixels.
        trainable_params: number of trainable parameters.
        non_trainable_params: number of the others.
        macs: multiply-accumulate operations per image.
        features: layers through which everything passes, and their shapes, by their stride.
    """

    edge: int
    trainable_params: int
    non_trainable_params: int
    macs: int
    features: Mapping[int, tuple[str, tuple[int, int, int]]]


TABLE: Mapping[str, Row] = {
    "ConvNeXtTiny": Row(
        224,
        28_589_128,
        0,
        4_455_531_264,
        {
            4: ("add_2", (56, 56, 96)),
            8: ("add_5", (28, 28, 192)),
            16: ("add_14", (14, 14, 384)),
            32: ("add_17", (7, 7, 768)),
        },
    ),
    "ConvNeXtSmall": Row(
        224,
        50_223_688,
        0,
        8_683_712_256,
        {
            4: ("add_2", (56, 56, 96)),
            8: ("add_5", (28, 28, 192)),
            16: ("add_32", (14, 14, 384)),
            32: ("add_35", (7, 7, 768)),
        },
    ),
    "ConvNeXtBase": Row(
        224,
        88_591_464,
        0,
        15_354_729_472,
        {
            4: ("add_2", (56, 56, 128)),
            8: ("add_5", (28, 28, 256)),
            16: ("add_32", (14, 14, 512)),
            32: ("add_35", (7, 7, 1024)),
        },
    ),
    "ConvNeXtLarge": Row(
        224,
        197_767_336,
        0,
        34_361_433_600,
        {
            4: ("add_2", (56, 56, 192)),
            8: ("add_5", (28, 28, 384)),
            16: ("add_32", (14, 14, 768)),
            32: ("add_35", (7, 7, 1536)),
        },
    ),
    "ConvNeXtXLarge": Row(
        224,
        350_196_968,
        0,
        60_921_030_656,
        {
            4: ("add_2", (56, 56, 256)),
            8: ("add_5", (28, 28, 512)),
            16: ("add_32", (14, 14, 1024)),
            32: ("add_35", (7, 7, 2048)),
        },
    ),
    "DenseNet121": Row(
        224,
        7_978_856,
        83_648,
        2_834_161_664,
        {
            2: ("conv1_relu", (112, 112, 64)),
            4: ("pool2_conv", (56, 56, 128)),
            8: ("pool3_conv", (28, 28, 256)),
            16: ("pool4_conv", (14, 14, 512)),
            32: ("relu", (7, 7, 1024)),
        },
    ),
    "DenseNet169": Row(
        224,
        14_149_480,
        158_400,
        3_359_843_328,
        {
            2: ("conv1_relu", (112, 112, 64)),
            4: ("pool2_conv", (56, 56, 128)),
            8: ("pool3_conv", (28, 28, 256)),
            16: ("pool4_conv", (14, 14, 640)),
            32: ("relu", (7, 7, 1664)),
        },
    ),
    "DenseNet201": Row(
        224,
        20_013_928,
        229_056,
        4_291_365_888,
        {
            2: ("conv1_relu", (112, 112, 64)),
            4: ("pool2_conv", (56, 56, 128)),
            8: ("pool3_conv", (28, 28, 256)),
            16: ("pool4_conv", (14, 14, 896)),
            32: ("relu", (7, 7, 1920)),
        },
    ),
    "EfficientNetB0": Row(
        224,
        5_288_548,
        42_016,
        385_814_752,
        {
            2: ("block2a_expand_activation", (112, 112, 96)),
            4: ("block3a_expand_activation", (56, 56, 144)),
            8: ("block4a_expand_activation", (28, 28, 240)),
            16: ("block6a_expand_activation", (14, 14, 672)),
            32: ("top_activation", (7, 7, 1280)),
        },
    ),
    "EfficientNetB1": Row(
        240,
        7_794_184,
        62_048,
        686_802_832,
        {
            2: ("block2a_expand_activation", (120, 120, 96)),
            4: ("block3a_expand_activation", (60, 60, 144)),
            8: ("block4a_expand_activation", (30, 30, 240)),
            16: ("block6a_expand_activation", (15, 15, 672)),
            32: ("top_activation", (8, 8, 1280)),
        },
    ),
    "EfficientNetB2": Row(
        260,
        9_109_994,
        67_568,
        993_561_872,
        {
            2: ("block2a_expand_activation", (130, 130, 96)),
            4: ("block3a_expand_activation", (65, 65, 144)),
            8: ("block4a_expand_activation", (33, 33, 288)),
            16: ("block6a_expand_activation", (17, 17, 720)),
            32: ("top_activation", (9, 9, 1408)),
        },
    ),
    "EfficientNetB3": Row(
        300,
        12_233_232,
        87_296,
        1_827_141_392,
        {
            2: ("block2a_expand_activation", (150, 150, 144)),
            4: ("block3a_expand_activation", (75, 75, 192)),
            8: ("block4a_expand_activation", (38, 38, 288)),
            16: ("block6a_expand_activation", (19, 19, 816)),
            32: ("top_activation", (10, 10, 1536)),
        },
    ),
    "EfficientNetB4": Row(
        380,
        19_341_616,
        125_200,
        4_393_771_024,
        {
            2: ("block2a_expand_activation", (190, 190, 144)),
            4: ("block3a_expand_activation", (95, 95, 192)),
            8: ("block4a_expand_activation", (48, 48, 336)),
            16: ("block6a_expand_activation", (24, 24, 960)),
            32: ("top_activation", (12, 12, 1792)),
        },
    ),
    "EfficientNetB5": Row(
        456,
        30_389_784,
        172_736,
        10_266_384_752,
        {
            2: ("block2a_expand_activation", (228, 228, 144)),
            4: ("block3a_expand_activation", (114, 114, 240)),
            8: ("block4a_expand_activation", (57, 57, 384)),
            16: ("block6a_expand_activation", (29, 29, 1056)),
            32: ("top_activation", (15, 15, 2048)),
        },
    ),
    "EfficientNetB6": Row(
        528,
        43_040_704,
        224_432,
        19_067_593_536,
        {
            2: ("block2a_expand_activation", (264, 264, 192)),
            4: ("block3a_expand_activation", (132, 132, 240)),
            8: ("block4a_expand_activation", (66, 66, 432)),
            16: ("block6a_expand_activation", (33, 33, 1200)),
            32: ("top_activation", (17, 17, 2304)),
        },
    ),
    "EfficientNetB7": Row(
        600,
        66_347_960,
        310_720,
        37_745_884_192,
        {
            2: ("block2a_expand_activation", (300, 300, 192)),
            4: ("block3a_expand_activation", (150, 150, 288)),
            8: ("block4a_expand_activation", (75, 75, 480)),
            16: ("block6a_expand_activation", (38, 38, 1344)),
            32: ("top_activation", (19, 19, 2560)),
        },
    ),
    "EfficientNetV2B0": Row(
        224,
        7_139_704,
        60_608,
        718_086_176,
        {
            2: ("block1a_project_activation", (112, 112, 16)),
            4: ("block2b_add", (56, 56, 32)),
            8: ("block4a_expand_activation", (28, 28, 192)),
            16: ("block6a_expand_activation", (14, 14, 672)),
            32: ("top_activation", (7, 7, 1280)),
        },
    ),
    "EfficientNetV2B1": Row(
        240,
        8_141_052,
        71_072,
        1_196_819_360,
        {
            2: ("block1b_add", (120, 120, 16)),
            4: ("block2c_add", (60, 60, 32)),
            8: ("block4a_expand_activation", (30, 30, 192)),
            16: ("block6a_expand_activation", (15, 15, 672)),
            32: ("top_activation", (8, 8, 1280)),
        },
    ),
    "EfficientNetV2B2": Row(
        260,
        10_096_086,
        82_288,
        1_697_542_832,
        {
            2: ("block1b_add", (130, 130, 16)),
            4: ("block2c_add", (65, 65, 32)),
            8: ("block4a_expand_activation", (33, 33, 224)),
            16: ("block6a_expand_activation", (17, 17, 720)),
            32: ("top_activation", (9, 9, 1408)),
        },
    ),
    "EfficientNetV2B3": Row(
        300,
        14_358_406,
        109_216,
        3_011_458_816,
        {
            2: ("block1b_add", (150, 150, 16)),
            4: ("block2c_add", (75, 75, 40)),
            8: ("block4a_expand_activation", (38, 38, 224)),
            16: ("block6a_expand_activation", (19, 19, 816)),
            32: ("top_activation", (10, 10, 1536)),
        },
    ),
    "EfficientNetV2S": Row(
        384,
        21_458_488,
        153_872,
        8_365_617_152,
        {
            2: ("block1b_add", (192, 192, 24)),
            4: ("block2d_add", (96, 96, 48)),
            8: ("block4a_expand_activation", (48, 48, 256)),
            16: ("block6a_expand_activation", (24, 24, 960)),
            32: ("top_activation", (12, 12, 1280)),
        },
    ),
    "EfficientNetV2M": Row(
        480,
        54_139_356,
        292_032,
        24_582_460_384,
        {
            2: ("block1c_add", (240, 240, 24)),
            4: ("block2e_add", (120, 120, 48)),
            8: ("block4a_expand_activation", (60, 60, 320)),
            16: ("block6a_expand_activation", (30, 30, 1056)),
            32: ("top_activation", (15, 15, 1280)),
        },
    ),
    "EfficientNetV2L": Row(
        480,
        118_515_272,
        512_576,
        56_079_699_008,
        {
            2: ("block1d_add", (240, 240, 32)),
            4: ("block2g_add", (120, 120, 64)),
            8: ("block4a_expand_activation", (60, 60, 384)),
            16: ("block6a_expand_activation", (30, 30, 1344)),
            32: ("top_activation", (15, 15, 1280)),
        },
    ),
    "InceptionResNetV2": Row(
        299,
        55_813_192,
        60_544,
        13_155_794_016,
        {
            2: ("activation_2", (147, 147, 64)),
            4: ("activation_4", (71, 71, 192)),
            8: ("block35_10_ac", (35, 35, 320)),
            16: ("block17_20_ac", (17, 17, 1088)),
            32: ("conv_7b_ac", (8, 8, 1536)),
        },
    ),
    "InceptionV3": Row(
        299,
        23_817_352,
        34_432,
        5_713_216_096,
        {
            2: ("activation_2", (147, 147, 64)),
            4: ("activation_4", (71, 71, 192)),
            8: ("mixed2", (35, 35, 288)),
            16: ("mixed7", (17, 17, 768)),
            32: ("mixed10", (8, 8, 2048)),
        },
    ),
    "MobileNet": Row(
        224,
        4_231_976,
        21_888,
        568_740_352,
        {
            2: ("conv_pw_1_relu", (112, 112, 64)),
            4: ("conv_pw_3_relu", (56, 56, 128)),
            8: ("conv_pw_5_relu", (28, 28, 256)),
            16: ("conv_pw_11_relu", (14, 14, 512)),
            32: ("conv_pw_13_relu", (7, 7, 1024)),
        },
    ),
    "MobileNetV2": Row(
        224,
        3_504_872,
        34_112,
        300_774_272,
        {
            2: ("block_1_expand_relu", (112, 112, 96)),
            4: ("block_3_expand_relu", (56, 56, 144)),
            8: ("block_6_expand_relu", (28, 28, 192)),
            16: ("block_13_expand_relu", (14, 14, 576)),
            32: ("out_relu", (7, 7, 1280)),
        },
    ),
    "MobileNetV3Small": Row(
        224,
        2_542_856,
        12_112,
        56_510_400,
        {
            2: ("activation", (112, 112, 16)),
            4: ("re_lu_2", (56, 56, 72)),
            8: ("activation_1", (28, 28, 96)),
            16: ("activation_11", (14, 14, 288)),
            32: ("activation_17", (7, 7, 576)),
        },
    ),
    "MobileNetV3Large": Row(
        224,
        5_483_032,
        24_400,
        216_589_760,
        {
            2: ("re_lu_1", (112, 112, 64)),
            4: ("re_lu_5", (56, 56, 72)),
            8: ("activation_1", (28, 28, 240)),
            16: ("activation_13", (14, 14, 672)),
            32: ("activation_19", (7, 7, 960)),
        },
    ),
    "NASNetMobile": Row(
        224, 5_289_978, 36_738, 563_638_816, {2: ("stem_bn1", (111, 111, 32)), 32: ("activation_187", (7, 7, 1056))}
    ),
    "NASNetLarge": Row(
        331,
        88_753_150,
        196_668,
        23_783_414_658,
        {2: ("stem_bn1", (165, 165, 96)), 32: ("activation_259", (11, 11, 4032))},
    ),
    "ResNet50": Row(
        224,
        25_583_592,
        53_120,
        3_857_973_248,
        {
            2: ("conv1_relu", (112, 112, 64)),
            4: ("conv2_block3_out", (56, 56, 256)),
            8: ("conv3_block4_out", (28, 28, 512)),
            16: ("conv4_block6_out", (14, 14, 1024)),
            32: ("conv5_block3_out", (7, 7, 2048)),
        },
    ),
    "ResNet101": Row(
        224,
        44_601_832,
        105_344,
        7_570_194_432,
        {
            2: ("conv1_relu", (112, 112, 64)),
            4: ("conv2_block3_out", (56, 56, 256)),
            8: ("conv3_block4_out", (28, 28, 512)),
            16: ("conv4_block23_out", (14, 14, 1024)),
            32: ("conv5_block3_out", (7, 7, 2048)),
        },
    ),
    "ResNet152": Row(
        224,
        60_268_520,
        151_424,
        11_282_415_616,
        {
            2: ("conv1_relu", (112, 112, 64)),
            4: ("conv2_block3_out", (56, 56, 256)),
            8: ("conv3_block8_out", (28, 28, 512)),
            16: ("conv4_block36_out", (14, 14, 1024)),
            32: ("conv5_block3_out", (7, 7, 2048)),
        },
    ),
    "ResNet50V2": Row(
        224,
        25_568_360,
        45_440,
        3_482_255_360,
        {
            2: ("conv1_conv", (112, 112, 64)),
            4: ("conv2_block2_out", (56, 56, 256)),
            8: ("conv3_block3_out", (28, 28, 512)),
            16: ("conv4_block5_out", (14, 14, 1024)),
            32: ("post_relu", (7, 7, 2048)),
        },
    ),
    "ResNet101V2": Row(
        224,
        44_577_896,
        97_664,
        7_194_476_544,
        {
            2: ("conv1_conv", (112, 112, 64)),
            4: ("conv2_block2_out", (56, 56, 256)),
            8: ("conv3_block3_out", (28, 28, 512)),
            16: ("conv4_block22_out", (14, 14, 1024)),
            32: ("post_relu", (7, 7, 2048)),
        },
    ),
    "ResNet152V2": Row(
        224,
        60_236_904,
        143_744,
        10_906_697_728,
        {
            2: ("conv1_conv", (112, 112, 64)),
            4: ("conv2_block2_out", (56, 56, 256)),
            8: ("conv3_block7_out", (28, 28, 512)),
            16: ("conv4_block35_out", (14, 14, 1024)),
            32: ("post_relu", (7, 7, 2048)),
        },
    ),
    "VGG16": Row(
        224,
        138_357_544,
        0,
        15_470_264_320,
        {
            2: ("block2_conv2", (112, 112, 128)),
            4: ("block3_conv3", (56, 56, 256)),
            8: ("block4_conv3", (28, 28, 512)),
            16: ("block5_conv3", (14, 14, 512)),
            32: ("block5_pool", (7, 7, 512)),
        },
    ),
    "VGG19": Row(
        224,
        143_667_240,
        0,
        19_632_062_464,
        {
            2: ("block2_conv2", (112, 112, 128)),
            4: ("block3_conv4", (56, 56, 256)),
            8: ("block4_conv4", (28, 28, 512)),
            16: ("block5_conv4", (14, 14, 512)),
            32: ("block5_pool", (7, 7, 512)),
        },
    ),
    "Xception": Row(
        299,
        22_855_952,
        54_528,
        8_357_403_496,
        {
            2: ("block1_conv2_act", (147, 147, 64)),
            4: ("add", (74, 74, 128)),
            8: ("add_1", (37, 37, 256)),
            16: ("add_10", (19, 19, 728)),
            32: ("block14_sepconv2_act", (10, 10, 2048)),
        },
    ),
}
