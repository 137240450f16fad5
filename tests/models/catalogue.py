"""The models of the table: each builder gives a network with seeded random weights, ready to be exported.

The names are those of the library. Sizes are small where a network allows any, so that a table takes minutes.
"""
import dataclasses
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "export"))

TORCHVISION = [
    "alexnet", "vgg11", "vgg16", "vgg19", "vgg11_bn", "vgg16_bn", "vgg19_bn", "resnet18", "resnet34", "resnet50", "resnext50_32x4d",
    "wide_resnet50_2", "squeezenet1_0", "squeezenet1_1", "densenet121", "googlenet", "inception_v3", "mobilenet_v2", "mobilenet_v3_small",
    "mobilenet_v3_large", "shufflenet_v2_x1_0", "mnasnet1_0", "efficientnet_b0", "efficientnet_v2_s", "regnet_x_400mf", "regnet_y_400mf",
    "convnext_tiny", "vit_b_16", "swin_t", "swin_v2_t", "maxvit_t",
]
TIMM = [
    "convnext_nano", "convnextv2_atto", "vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "efficientformer_l1", "efficientformerv2_s0",
    "mobilevit_xxs", "mobilevitv2_050", "regnety_002", "resnext26ts", "repvgg_a0", "mixer_s32_224", "poolformer_s12", "levit_128s",
    "coat_lite_tiny", "xcit_nano_12_p16_224", "eva02_tiny_patch14_224", "beit_base_patch16_224", "mobileone_s0", "edgenext_xx_small",
    "ghostnet_100", "hrnet_w18_small", "dla34", "res2net50_26w_4s", "dm_nfnet_f0", "eca_nfnet_l0", "mobilenetv4_conv_small",
    "mobilenetv4_hybrid_medium", "resnetv2_50", "resnest14d", "seresnet18", "skresnet18", "cspresnet50", "tresnet_m", "inception_resnet_v2",
    "xception41", "densenet121", "pvt_v2_b0", "twins_svt_small", "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256", "maxvit_tiny_rw_224",
    "coatnet_nano_rw_224", "crossvit_tiny_240", "cait_xxs24_224", "pit_ti_224", "visformer_tiny", "tnt_s_patch16_224", "convit_tiny",
    "fastvit_t8", "tiny_vit_5m_224", "efficientvit_b0", "efficientvit_m0", "gcvit_xxtiny", "davit_tiny", "focalnet_tiny_srf", "volo_d1_224",
    "nextvit_small", "repvit_m0_9", "hgnet_tiny", "lcnet_050", "tinynet_e", "hardcorenas_a", "fbnetc_100", "rexnet_100", "selecsls42b",
    "vovnet39a", "dpn68", "gernet_s", "botnet26t_256", "halonet26t", "lambda_resnet26t", "mambaout_femto", "starnet_s1", "shvit_s1",
    "resmlp_12_224", "gmixer_12_224", "gmlp_ti16_224", "sequencer2d_s", "nest_tiny", "tf_efficientnet_lite0", "tf_efficientnetv2_b0",
    "tf_mobilenetv3_small_minimal_100", "mnasnet_small", "semnasnet_075", "spnasnet_100", "inception_v4", "inception_next_atto",
    "vit_small_patch16_rope_224", "naflexvit_base_patch16_gap", "samvit_base_patch16_224", "vit_tiny_r_s16_p8_224", "hiera_tiny_224",
    "mvitv2_tiny", "rdnet_tiny", "caformer_s18", "convformer_s18", "csatv2", "ese_vovnet19b_dw", "legacy_senet154", "pnasnet5large",
    "nasnetalarge",
]


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    source: str  # torchvision, timm, tf-style, keras
    exporter: str  # torch.onnx (tracing), dynamo, onnx.helper, tf2onnx
    opset: int
    folding: bool = True
    free_batch: bool = True
    small: bool = False

    def key(self):
        notes = [] if self.folding else ["no constant folding"]
        notes += [] if self.free_batch else ["fixed batch"]
        notes += ["small"] if self.small else []
        return f"{self.name} ({', '.join(notes)})" if notes else self.name


def torch_cases(exporters, opsets):
    """Every torchvision network at every opset; of two that differ little, one more with the exporter's other settings."""
    cases = []
    for exporter in exporters:
        for name in TORCHVISION:
            for opset in opsets[exporter]:
                cases.append(Case(name, "torchvision", exporter, opset))
            if name in ("resnet50", "shufflenet_v2_x1_0", "efficientnet_b0", "vit_b_16", "swin_t", "densenet121"):
                opset = opsets[exporter][-1]
                if exporter == "torch.onnx":
                    cases.append(Case(name, "torchvision", exporter, opset, folding=False))
                cases.append(Case(name, "torchvision", exporter, opset, free_batch=False))
        cases += [Case(name, "timm", exporter, opsets[exporter][-1]) for name in TIMM]
    return cases


# In every run of the tests: narrow, low, a few seconds altogether.
SMALL = ["resnet18", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1", "mnasnet0_5", "regnet_y_400mf", "googlenet"]


def size_of(case, default=224):
    if case.small:
        return 64
    return {"inception_v3": 299}.get(case.name, default)
