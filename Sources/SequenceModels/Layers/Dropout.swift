internal import Attention

/// Returns the tensor with a share of its elements at 0 and the others scaled up, in training; else as it is.
///
/// Srivastava et al., "Dropout", 2014.
func dropped(_ x: Tensor, rate: Double, _ dropout: inout RandomStream?) -> Tensor {
    guard rate > 0, var random = dropout else { return x }
    defer { dropout = random }
    return Attention.dropout(x, rate: rate, random: &random)
}
