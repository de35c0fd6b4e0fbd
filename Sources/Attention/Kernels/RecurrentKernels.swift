internal import CAttentionKernels

/// The C kernels of recurrent layers, in `Float` and `Double`: what each does stands in `CAttentionKernels.h`.
protocol RecurrentKernels: AttentionScalar {
    static func lstmCell(
        gates: UnsafeMutablePointer<Self>, gateStride: Int, previousCell: UnsafePointer<Self>,
        cell: UnsafeMutablePointer<Self>, output: UnsafeMutablePointer<Self>, count: Int)
    static func lstmCellGradient(
        gateGradients: UnsafeMutablePointer<Self>, cellGradient: UnsafeMutablePointer<Self>,
        outputGradient: UnsafePointer<Self>, gates: UnsafePointer<Self>, gateStride: Int,
        previousCell: UnsafePointer<Self>, cell: UnsafePointer<Self>, count: Int)
    static func gruCell(
        gates: UnsafeMutablePointer<Self>, gateStride: Int, terms: UnsafePointer<Self>, previous: UnsafePointer<Self>,
        output: UnsafeMutablePointer<Self>, count: Int)
    static func gruCellGradient(
        gateGradients: UnsafeMutablePointer<Self>, termGradients: UnsafeMutablePointer<Self>,
        stateGradient: UnsafeMutablePointer<Self>, outputGradient: UnsafePointer<Self>, gates: UnsafePointer<Self>,
        gateStride: Int, terms: UnsafePointer<Self>, previous: UnsafePointer<Self>, count: Int)
}

extension Float: RecurrentKernels {
    static func lstmCell(
        gates: UnsafeMutablePointer<Float>, gateStride: Int, previousCell: UnsafePointer<Float>,
        cell: UnsafeMutablePointer<Float>, output: UnsafeMutablePointer<Float>, count: Int
    ) {
        Kernels.current.lstm_cell(gates, gateStride, previousCell, cell, output, count)
    }

    static func lstmCellGradient(
        gateGradients: UnsafeMutablePointer<Float>, cellGradient: UnsafeMutablePointer<Float>,
        outputGradient: UnsafePointer<Float>, gates: UnsafePointer<Float>, gateStride: Int,
        previousCell: UnsafePointer<Float>, cell: UnsafePointer<Float>, count: Int
    ) {
        Kernels.current.lstm_cell_gradient(
            gateGradients, cellGradient, outputGradient, gates, gateStride, previousCell, cell, count)
    }

    static func gruCell(
        gates: UnsafeMutablePointer<Float>, gateStride: Int, terms: UnsafePointer<Float>,
        previous: UnsafePointer<Float>, output: UnsafeMutablePointer<Float>, count: Int
    ) {
        Kernels.current.gru_cell(gates, gateStride, terms, previous, output, count)
    }

    static func gruCellGradient(
        gateGradients: UnsafeMutablePointer<Float>, termGradients: UnsafeMutablePointer<Float>,
        stateGradient: UnsafeMutablePointer<Float>, outputGradient: UnsafePointer<Float>, gates: UnsafePointer<Float>,
        gateStride: Int, terms: UnsafePointer<Float>, previous: UnsafePointer<Float>, count: Int
    ) {
        Kernels.current.gru_cell_gradient(
            gateGradients, termGradients, stateGradient, outputGradient, gates, gateStride, terms, previous, count)
    }
}

extension Double: RecurrentKernels {
    static func lstmCell(
        gates: UnsafeMutablePointer<Double>, gateStride: Int, previousCell: UnsafePointer<Double>,
        cell: UnsafeMutablePointer<Double>, output: UnsafeMutablePointer<Double>, count: Int
    ) {
        Kernels.float64.lstm_cell(gates, gateStride, previousCell, cell, output, count)
    }

    static func lstmCellGradient(
        gateGradients: UnsafeMutablePointer<Double>, cellGradient: UnsafeMutablePointer<Double>,
        outputGradient: UnsafePointer<Double>, gates: UnsafePointer<Double>, gateStride: Int,
        previousCell: UnsafePointer<Double>, cell: UnsafePointer<Double>, count: Int
    ) {
        Kernels.float64.lstm_cell_gradient(
            gateGradients, cellGradient, outputGradient, gates, gateStride, previousCell, cell, count)
    }

    static func gruCell(
        gates: UnsafeMutablePointer<Double>, gateStride: Int, terms: UnsafePointer<Double>,
        previous: UnsafePointer<Double>, output: UnsafeMutablePointer<Double>, count: Int
    ) {
        Kernels.float64.gru_cell(gates, gateStride, terms, previous, output, count)
    }

    static func gruCellGradient(
        gateGradients: UnsafeMutablePointer<Double>, termGradients: UnsafeMutablePointer<Double>,
        stateGradient: UnsafeMutablePointer<Double>, outputGradient: UnsafePointer<Double>,
        gates: UnsafePointer<Double>, gateStride: Int, terms: UnsafePointer<Double>, previous: UnsafePointer<Double>,
        count: Int
    ) {
        Kernels.float64.gru_cell_gradient(
            gateGradients, termGradients, stateGradient, outputGradient, gates, gateStride, terms, previous, count)
    }
}
