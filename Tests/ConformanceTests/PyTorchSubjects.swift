import ModelFiles

/// How the cases of each of PyTorch's modules, functions and optimizers are run: what returns what is wrong.
let pyTorchSubjects: [String: @Sendable (SafetensorsFile) throws -> [String]] = [
    "torch.nn.functional.scaled_dot_product_attention": problemsOfPyTorchAttention,
    "torch.nn.RNN": problemsOfPyTorchRecurrence,
    "torch.nn.LSTM": problemsOfPyTorchRecurrence,
    "torch.nn.GRU": problemsOfPyTorchRecurrence,
    "torch.nn.Conv1d": problemsOfPyTorchConvolution,
    "torch.nn.MultiheadAttention": problemsOfPyTorchTransformer,
    "torch.nn.TransformerEncoder": problemsOfPyTorchTransformer,
    "torch.nn.TransformerDecoder": problemsOfPyTorchTransformer,
    "sgd": problemsOfPyTorchOptimizer,
    "adam": problemsOfPyTorchOptimizer,
    "adamw": problemsOfPyTorchOptimizer,
]
