-- Second part of the prelude: figures of the pools since the store was made. (Those of the installation, which change seldom, are fields
-- `|<figure>` of STAT.)

local figures
at_begin(function() figures = {} end)

local function figures_of(pool_name)
  local sums = figures[pool_name]
  if not sums then
    local packed = found[pool_of(pool_name).figures_field]
    sums = packed and cmsgpack.unpack(packed) or {}
    figures[pool_name] = sums
  end
  return sums
end

local function incr(pool_name, figure, by)
  local sums = figures_of(pool_name)
  sums[figure] = (sums[figure] or 0) + (by or 1)
end

-- Of the last attempts, whether each was granted (`1`) or not (`0`), oldest first.
local function count_outcome(pool_name, letter)
  local sums = figures_of(pool_name)
  sums.recent = string.sub((sums.recent or '') .. letter, -conf.recent)
end

local function write_figures()
  for pool_name, sums in pairs(figures) do changed['figures:' .. pool_name] = cmsgpack.pack(sums) end
end
