"""`bibank trade` and `bibank fee`: two owners swap two assets, and what the house takes."""

from __future__ import annotations

import click

from bibank.cli.parties import party, upper
from bibank.cli.request import NEGATIVE_AMOUNTS, Done, Request, request_options
from bibank.cli.settings import global_options
from bibank.errors import InvalidAmount
from bibank.ledger import Ledger
from bibank.model.amount import DECIMALS, UNITS_PER_WHOLE, Amount
from bibank.model.money import Money
from bibank.model.table import plain
from bibank.model.trade import FeeKind, TradeFee

_FORMS = (
    "a trade is SELLER BUYER --sell AMOUNT ASSET --buy AMOUNT ASSET, "
    "or --maker OWNER --taker OWNER --base ASSET --quote ASSET --price PRICE --amount AMOUNT"
)


@click.command()
@global_options()
@click.argument("seller", required=False)
@click.argument("buyer", required=False)
@click.option("--sell", nargs=2, metavar="AMOUNT ASSET", help="What the first one gives.")
@click.option("--buy", nargs=2, metavar="AMOUNT ASSET", help="What the first one receives.")
@click.option("--maker", metavar="OWNER", help="Who receives the base asset.")
@click.option("--taker", metavar="OWNER", help="Who receives the quote asset.")
@click.option("--base", metavar="ASSET", help="The asset that the price is of.")
@click.option("--quote", metavar="ASSET", help="The asset that the price is in.")
@click.option("--price", metavar="PRICE", help="How much of the quote asset one of the base asset costs.")
@click.option("--amount", metavar="AMOUNT", help="How much of the base asset.")
@click.option("--fee", metavar="AMOUNT", help="A trading fee that the first one pays, in the asset sold.")
@click.option("--trade-id", metavar="ID", help="Id of the trade; the correlation id when left out.")
@request_options
def trade(
    request: Request,
    seller: str | None,
    buyer: str | None,
    sell: tuple[str, str] | None,
    buy: tuple[str, str] | None,
    maker: str | None,
    taker: str | None,
    base: str | None,
    quote: str | None,
    price: str | None,
    amount: str | None,
    fee: str | None,
    trade_id: str | None,
) -> None:
    """Swap two assets between two owners: trade ALICE BOB --sell 100 USDT --buy 0.001 BTC.

    The same with a price, where the maker buys the base asset: trade --maker ALICE --taker BOB
    --base BTC --quote USDT --price 100000 --amount 0.001.
    """
    named = seller, buyer, sell, buy
    priced = maker, taker, base, quote, price, amount
    if any(part is not None for part in named) and any(part is not None for part in priced):
        raise click.UsageError(f"two forms contradict each other: {_FORMS}")
    if seller is not None and buyer is not None and sell is not None and buy is not None:
        first, second = seller, buyer
        sold, bought = Money(sell[0], upper(sell[1])), Money(buy[0], upper(buy[1]))
    elif maker and taker and base and quote and price is not None and amount is not None:
        first, second = maker, taker
        wanted = Amount(amount)
        sold, bought = Money(_cost(wanted, Amount(price)), upper(quote)), Money(wanted, upper(base))
    else:
        raise click.UsageError(f"the trade is not complete: {_FORMS}")
    giving, taking = party(first), party(second)
    fees = () if fee is None else (TradeFee(giving, Money(fee, sold.asset)),)

    def verb(ledger: Ledger) -> Done:
        found = ledger.trade(
            maker=giving,
            maker_gives=sold,
            taker=taking,
            taker_gives=bought,
            fees=fees,
            trade_id=trade_id,
            **request.keywords,
        )
        return Done((found.entry, *found.fees), plain(found))

    request.commit(verb)


def _cost(amount: Amount, price: Amount) -> Amount:
    """Multiply exactly; `InvalidAmount` when the product has more decimals than an amount."""
    product = amount.units * price.units
    units, rest = divmod(product, UNITS_PER_WHOLE)
    if rest:
        whole, fraction = divmod(product, UNITS_PER_WHOLE**2)
        exact = f"{whole}.{fraction:0{2 * DECIMALS}d}".rstrip("0")
        raise InvalidAmount(
            f"price {price} times amount {amount} is {exact}, which has more than {DECIMALS} decimals; "
            "choose a price and an amount whose product has not"
        )
    return Amount.from_units(units)


@click.command(context_settings=NEGATIVE_AMOUNTS)
@global_options()
@click.argument("owner")
@click.argument("amount")
@click.argument("asset")
@click.option(
    "--type",
    "kind",
    required=True,
    type=click.Choice([kind.value for kind in FeeKind], case_sensitive=False),
    help="What the fee is for; each has a revenue account of its own.",
)
@request_options
def fee(request: Request, owner: str, amount: str, asset: str, kind: str) -> None:
    """Charge a fee: fee ALICE 0.1 USDT --type trading."""
    payer, money = party(owner), Money(amount, upper(asset))
    request.commit(lambda ledger: Done.one(ledger.fee(payer, money, kind=FeeKind(kind), **request.keywords)))
