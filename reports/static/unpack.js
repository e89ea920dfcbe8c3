"use strict";
// Raw deflate (RFC 1951) undone: the page carries its scripts and its data packed, and opens from a file.
(function () {
  const LENGTH_BASE = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
  const LENGTH_EXTRA = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
  const DISTANCE_BASE = [1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577];
  const DISTANCE_EXTRA = [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13];
  const DAMAGED = "the data packed in this page is damaged";
  const CODE_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

  // A table that the next `bits` bits of the input lead into: symbol * 16 + length of its code.
  function codes(lengths) {
    const counts = new Uint16Array(16);
    for (const length of lengths) counts[length] += length ? 1 : 0;
    const next = new Uint16Array(17);
    for (let length = 1; length < 16; length += 1) next[length + 1] = (next[length] + counts[length]) << 1;
    const bits = Math.max(1, ...lengths);
    const table = new Uint16Array(1 << bits);
    lengths.forEach((length, symbol) => {
      if (!length) return;
      let code = next[length], reversed = 0;
      next[length] += 1;
      for (let bit = 0; bit < length; bit += 1, code >>= 1) reversed = (reversed << 1) | (code & 1);
      for (let place = reversed; place < table.length; place += 1 << length) table[place] = (symbol << 4) | length;
    });
    return { table, mask: table.length - 1 };
  }

  function inflate(input, size) {
    const output = new Uint8Array(size);
    let at = 0, written = 0, held = 0, count = 0;
    function fill(wanted) {
      for (; count < wanted; count += 8) held |= (at < input.length ? input[at++] : 0) << count;
    }
    function take(wanted) {
      if (!wanted) return 0;
      fill(wanted);
      const value = held & ((1 << wanted) - 1);
      held >>>= wanted;
      count -= wanted;
      return value;
    }
    function symbol(tree) {
      fill(15);
      const entry = tree.table[held & tree.mask];
      held >>>= entry & 15;
      count -= entry & 15;
      return entry >> 4;
    }
    function trees() {
      const literals = take(5) + 257, distances = take(5) + 1, given = take(4) + 4;
      const order = new Array(19).fill(0);
      for (let index = 0; index < given; index += 1) order[CODE_ORDER[index]] = take(3);
      const tree = codes(order), lengths = [];
      while (lengths.length < literals + distances) {
        const one = symbol(tree);
        if (one < 16) { lengths.push(one); continue; }
        const again = one === 16 ? lengths[lengths.length - 1] : 0;
        const times = one === 16 ? 3 + take(2) : one === 17 ? 3 + take(3) : 11 + take(7);
        for (let time = 0; time < times; time += 1) lengths.push(again);
      }
      return [codes(lengths.slice(0, literals)), codes(lengths.slice(literals))];
    }
    function fixed() {
      const lengths = Array.from({ length: 288 }, (_, one) => (one < 144 ? 8 : one < 256 ? 9 : one < 280 ? 7 : 8));
      return [codes(lengths), codes(new Array(30).fill(5))];
    }
    function stored() {
      at -= count >> 3; // bytes that were held and not used
      held = count = 0;
      const length = input[at] | (input[at + 1] << 8);
      output.set(input.subarray(at + 4, at + 4 + length), written);
      at += 4 + length;
      written += length;
    }
    function block([literals, distances]) {
      for (let one = symbol(literals); one !== 256; one = symbol(literals)) {
        if (written === size) throw new Error(DAMAGED);
        if (one < 256) { output[written++] = one; continue; }
        const length = LENGTH_BASE[one - 257] + take(LENGTH_EXTRA[one - 257]);
        const way = symbol(distances);
        const back = DISTANCE_BASE[way] + take(DISTANCE_EXTRA[way]);
        if (back > written || written + length > size) throw new Error(DAMAGED);
        for (let end = written + length; written < end; written += 1) output[written] = output[written - back];
      }
    }
    for (let last = 0; !last;) {
      last = take(1);
      const kind = take(2);
      if (kind === 0) { take(count & 7); stored(); }
      else block(kind === 1 ? fixed() : trees());
    }
    if (written !== size) throw new Error(DAMAGED);
    return output;
  }

  window.paretunePage = {
    // The text of <script type="text/plain" id=... data-bytes=...>.
    unpacked(id) {
      const element = document.getElementById(id);
      const binary = atob(element.textContent.trim());
      const input = new Uint8Array(binary.length);
      for (let index = 0; index < binary.length; index += 1) input[index] = binary.charCodeAt(index);
      return new TextDecoder().decode(inflate(input, Number(element.dataset.bytes)));
    },
    run(id) {
      const script = document.createElement("script");
      script.textContent = window.paretunePage.unpacked(id);
      document.head.append(script);
    },
  };
})();
